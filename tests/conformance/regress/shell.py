"""A shell behind Ferry's sessions, for OpenSSH's scripts. Ferry has none: only these tests can put one there.

A gateway that is built with `shell_connection(rules)` as its kind of connection gives a client's session channel to a
process of this host, as sshd does. All else of the connection is Ferry's: log-in, forwards, channels, packets.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import re
import signal
import subprocess
import termios
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Any

import asyncssh
from asyncssh.constants import EXTENDED_DATA_STDERR, MSG_CHANNEL_REQUEST
from asyncssh.packet import SSHPacket

from ferry import tasks
from ferry.limiters.rate import Spacing
from ferry.policy.keys import KeyLine
from ferry.protocol.key_options import options_end
from ferry.ssh.forward_requests import ForwardRequests
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.requests import ConnectionHandler, Opened
from ferry.ssh.wire.session_channel import SessionChannel

_LOOK_SECONDS = 0.01
_QUOTED = re.compile(r'"(?:\\"|[^"])*"')


@dataclass(frozen=True)
class ShellRules:
    """What sshd_config says about shells."""

    accepted: tuple[str, ...] = ()
    """Patterns of variables that a client may set (`AcceptEnv`)."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """`SetEnv`."""
    subsystems: Mapping[str, str] = field(default_factory=dict)
    """The commands of subsystems, by name."""
    key_variables: bool = False
    """`PermitUserEnvironment`: `environment=` of a key counts."""
    command: str | None = None
    """`ForceCommand`."""


def shell_connection(rules: ShellRules) -> type[HardenedConnection]:
    """The kind of connection that has shells."""

    class ShellConnection(HardenedConnection):
        def serve(self, handler: ConnectionHandler, keys: Spacing) -> None:
            super().serve(handler, keys)
            self.handler = WithShell(handler, self, rules)

    return ShellConnection


class WithShell:
    """A client's own handler, but for sessions."""

    def __init__(self, client: Any, connection: HardenedConnection, rules: ShellRules) -> None:
        self._client = client
        self._connection = connection
        self._rules = rules

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def session_requested(self) -> Opened:
        channel = ShellChannel(self._connection)
        return channel, Shell(self._client, self._rules)


class ShellChannel(SessionChannel):
    """Ferry's session channel, with the requests of a shell that it leaves unread."""

    def send_one(self) -> bool:
        more = super().send_one()
        if self._session is not None:
            self._pause_resume_writing()
        return more

    def _process_request(self, message: int, sequence: int, packet: SSHPacket) -> None:
        copy = SSHPacket(packet.get_remaining_payload())
        kind, _wants_reply = copy.get_string(), copy.get_boolean()
        if kind == b"env" and isinstance(self._session, Shell):
            self._session.variable_wanted(copy.get_string().decode(), copy.get_string().decode())
        super()._process_request(message, sequence, packet)

    _packet_handlers = MappingProxyType({**SessionChannel._packet_handlers, MSG_CHANNEL_REQUEST: _process_request})


class Shell(asyncssh.SSHServerSession[bytes]):
    """One session, which runs a command of this host's."""

    def __init__(self, client: Any, rules: ShellRules) -> None:
        self._line: KeyLine = client.key_line
        self._requests: ForwardRequests = client.requests
        self._number = self._requests.session_opened()
        self._rules = rules
        self._channel: Any = None
        self._wanted: dict[str, str] = {}
        self._terminal: Terminal | None = None
        self._process: Process | None = None
        self._early: list[bytes] = []
        """Input that came before the process."""
        self._ended = False
        """The client has sent an end-of-file."""

    # --- the channel

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        chan.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._process is not None:
            self._process.leave()
        if self._terminal is not None:
            self._terminal.close()

    def data_received(self, data: bytes, datatype: Any) -> None:
        if self._terminal is not None:
            os.write(self._terminal.leader, data)
        elif self._process is not None:
            self._process.stdin.write(data)
        else:
            self._early.append(data)

    def eof_received(self) -> bool:
        self._ended = True
        if self._process is not None and self._terminal is None:
            self._process.stdin.close()
        return True

    def pause_writing(self) -> None:
        if self._process is not None:
            self._process.pause_output()

    def resume_writing(self) -> None:
        if self._process is not None:
            self._process.resume_output()

    # --- requests

    def variable_wanted(self, name: str, value: str) -> None:
        if any(fnmatchcase(name, pattern) for pattern in self._rules.accepted):
            self._wanted[name] = value

    def terminal_requested(self, _name: str, _columns: int) -> bool:
        if self._may_have_terminal:
            self._terminal = Terminal(self._channel)
        return self._terminal is not None

    @property
    def _may_have_terminal(self) -> bool:
        """By the options of the key's line, which Ferry itself reads without a meaning."""
        if not self._line.file:
            return True
        line = Path(self._line.file).read_text("utf-8").splitlines()[self._line.number - 1]
        may = True
        for option in _QUOTED.sub("", line[: options_end(line)]).lower().split(","):
            if option in ("restrict", "no-pty", "pty"):
                may = option == "pty"
        return may

    def resized(self, _columns: int) -> None:
        """No script looks at it."""

    def color_refused(self) -> None:
        """Its variable is one like others."""

    def refuse_form(self, _asked: str, _why: str, *, kept: str = "") -> None:
        """No script looks at it."""

    def quit(self) -> None:
        """No script sends a break."""

    def started(self, command: str) -> bool:
        """As Ferry's own session, it begins when all earlier requests for forwards are decided."""
        self._requests.words_said(self._number, "")
        self._requests.when_settled(lambda: self._begin(command))
        return True

    def _begin(self, command: str) -> None:
        self._requests.outcomes_shown()
        tasks.spawn("shell", self._run(command))

    def subsystem_wanted(self, name: str, *, kept: str) -> bool:
        command = self._rules.subsystems.get(name)
        if command is not None:
            self.started(command)
        return command is not None

    # --- the process

    async def _run(self, command: str) -> None:
        command = self._rules.command or self._line.options.command or command
        user = pwd.getpwuid(os.getuid())
        variables = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        variables |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": "/bin/sh"}
        if self._rules.key_variables:
            variables |= dict(each.split("=", 1) for each in self._line.options.environment)
        variables |= self._wanted | dict(self._rules.variables)
        terminal = self._terminal
        files = subprocess.PIPE if terminal is None else terminal.follower
        _, process = await asyncio.get_running_loop().subprocess_exec(
            lambda: Process(self._channel, self._requests),
            *("/bin/sh", "-c", command) if command else ("/bin/sh",),
            stdin=files,
            stdout=files,
            stderr=files,
            env=variables,
            cwd="/",
            start_new_session=True,
            preexec_fn=None if terminal is None else terminal.become_controlling,
        )
        if terminal is not None:
            terminal.begin()
        self._process = process
        for data in self._early:
            self.data_received(data, None)
        if self._ended:
            self.eof_received()


class Process(asyncio.SubprocessProtocol):
    """A process whose output goes to a session's channel."""

    def __init__(self, channel: Any, requests: ForwardRequests) -> None:
        self._channel = channel
        self._requests = requests
        self._transport: Any = None

    @property
    def stdin(self) -> asyncio.WriteTransport:
        pipe: asyncio.WriteTransport = self._transport.get_pipe_transport(0)
        return pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def leave(self) -> None:
        """The channel has closed."""
        self._channel = None
        self._transport.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if self._channel is not None:
            self._channel.write(data, EXTENDED_DATA_STDERR if fd == 2 else None)

    def pause_output(self) -> None:
        for pipe in self._output:
            pipe.pause_reading()

    def resume_output(self) -> None:
        for pipe in self._output:
            pipe.resume_reading()

    @property
    def _output(self) -> list[asyncio.ReadTransport]:
        pipes = map(self._transport.get_pipe_transport, (1, 2))
        return [pipe for pipe in pipes if pipe is not None and not pipe.is_closing()]

    def pause_writing(self) -> None:
        """The process does not read its input."""
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_writing(self) -> None:
        if self._channel is not None:
            self._channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended, and so has its output."""
        tasks.spawn("shell's end", self._end(self._transport.get_returncode()))

    async def _end(self, code: int) -> None:
        """As Ferry's own session, it ends after answers to forwards that are held."""
        while self._requests.answers_held:
            await asyncio.sleep(_LOOK_SECONDS)
        if self._channel is None:
            return
        if code < 0:
            self._channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            self._channel.exit(code)


class Terminal:
    """A terminal of a session."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.leader, self.follower = os.openpty()
        os.set_blocking(self.leader, False)
        self._is_open = True

    def become_controlling(self) -> None:
        """In the new process: let it be its terminal."""
        fcntl.ioctl(self.follower, termios.TIOCSCTTY, 0)

    def begin(self) -> None:
        """The process has it: show what it writes."""
        os.close(self.follower)
        asyncio.get_running_loop().add_reader(self.leader, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self.leader, 65536)
        except OSError:  # EIO: the process has ended
            self.close()
        else:
            self._channel.write(data)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            asyncio.get_running_loop().remove_reader(self.leader)
            os.close(self.leader)
