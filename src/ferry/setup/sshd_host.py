"""Asks an sshd on another host for its settings, with stock `ssh` and `sudo -n sshd -T`, which change nothing there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ferry import limits
from ferry.amounts import size, span
from ferry.clock import Clock, SystemClock
from ferry.errors import InvalidInput
from ferry.lint.views import KeyFile, View
from ferry.names import printable
from ferry.protocol.sshd_config import Parsed, Source, Version, parse, version_in

from .bounded_run import Ran, run_bounded

_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_CHATTER: Final = re.compile(r"debug[123]: |OpenSSH_|Transferred: |Bytes per second: |Authenticated to ")
_BANNER: Final = re.compile(r"remote software version (OpenSSH_\S+)")


@dataclass(slots=True)
class Host:
    """An sshd that is reached over ssh. `say` is told of each command before it runs."""

    name: str
    say: Callable[[str], None]
    version: Version | None = None
    """As the server introduces itself; None where ssh uses a connection that is there already."""
    ran: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)

    def settings(self, user: str | None) -> Parsed:
        """The settings in force; with `user`, for that account. Raises InvalidInput if the host does not give them."""
        if self.name.startswith("-"):
            raise InvalidInput(f"'{printable(self.name)}' is neither a file nor a host")
        command = "sshd -T"
        if user is not None:
            command += f" -C user={_checked(user)},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"
        done = self._run("-v", self._as_root(command), most=limits.LINT_CONFIG_BYTES)
        if banner := _BANNER.search(done.err):
            self.version = version_in(banner[1])
        if done.code != 0:
            raise InvalidInput(self._why(done))
        parsed = parse(Source(f"{self.name} (sshd -T)", _text(done)), lambda _pattern: [])
        if not parsed.is_effective:
            raise InvalidInput(
                f"{printable(self.name)} did not print sshd's settings: try `{printable(self.ran[-1], limits.LOG_FIELD_CHARS)}` yourself"
            )
        return parsed

    def keys(self, view: View, user: str | None, left_out: list[str]) -> list[KeyFile]:
        """The key files that the settings name: of `user`, or of all accounts together."""
        files = []
        room = limits.LINT_FILE_BYTES
        named = view["authorizedkeysfile"].values
        if len(named) > limits.LINT_HOST_FILES:
            left_out.append(f"key files on {self.name} beyond {limits.LINT_HOST_FILES}")
        for pattern in named[: limits.LINT_HOST_FILES]:
            path = _path(pattern, user)
            if path is None:
                if pattern != "none":
                    of_one = "" if user else " (--user NAME reads those of one account)"
                    left_out.append(f"{printable(pattern)} on {self.name}{of_one}")
                continue
            # One byte more tells a file that is too long: the name may be a link to one without an end.
            done = self._run(self._as_root(f"head -c {room + 1} {path}"), most=room + 1)
            if len(done.out) > room:
                left_out.append(f"{path} on {self.name} is longer than {size(room)}")
            elif done.code == 0:
                room -= len(done.out)
                files.append(KeyFile(f"{self.name}:{path}", _text(done), user))
            elif done.late:
                left_out.append(f"{path} on {self.name} cannot be read within {span(limits.LINT_HOST_SECONDS)}")
            elif "No such file" not in done.err:
                left_out.append(f"{path} on {self.name} cannot be read")
        return files

    def _as_root(self, command: str) -> str:
        return command if self.name.startswith("root@") else f"sudo -n {command}"

    def _run(self, *words: str, most: int) -> Ran:
        *options, command = words
        line = ["ssh", *options, "-o", f"ConnectTimeout={limits.LINT_CONNECT_SECONDS}", self.name, command]
        self.ran.append(shlex.join(line[:-1]) + f" {command}")
        self.say(self.ran[-1])
        try:
            return run_bounded(line, most=most, seconds=limits.LINT_HOST_SECONDS, clock=self.clock)
        except FileNotFoundError:
            raise InvalidInput("there is no ssh on this host: install openssh-client") from None

    def _why(self, done: Ran) -> str:
        """What ssh, sudo or sshd said, with what to do."""
        name, said = printable(self.name), [line for line in done.err.splitlines() if not _CHATTER.match(line)]
        if any("password is required" in line or "a terminal is required" in line for line in said):
            return (
                f"sudo on {name} asks for a password. Run `sudo sshd -T` there yourself, and give what it prints to "
                "`ferry lint sshd -`"
            )
        if any("sudo:" in line and "not found" in line for line in said):
            return f"{name} has no sudo: write root@{name.rpartition('@')[2]}"
        if done.code is None:
            much = f"did not answer within {span(limits.LINT_HOST_SECONDS)}"
            if not done.late:
                much = f"printed more than {size(limits.LINT_CONFIG_BYTES)}, which are not sshd's settings"
            return f"{name} {much}: try `{printable(self.ran[-1], limits.LOG_FIELD_CHARS)}` yourself"
        last = printable(" / ".join(line.strip() for line in said if line.strip()), limits.LOG_FIELD_CHARS)
        where = "is no file here, and as a host it does not answer" if done.code == 255 else "gave no settings"
        return f"{name} {where}: {last or f'exit code {done.code}'}"


def _text(done: Ran) -> str:
    return done.out.decode("utf-8", "replace")


def _checked(user: str) -> str:
    if not _ACCOUNT.fullmatch(user):
        raise InvalidInput(f"'{printable(user)}' is not the name of an account")
    return user


def _path(pattern: str, user: str | None) -> str | None:
    """The file as the remote shell reads it: `~tunnel/.ssh/authorized_keys`. None if it needs an account, or if it has
    characters that mean something to a shell."""
    if user is not None:
        home = f"~{_checked(user)}"
        pattern = pattern.replace("%u", user).replace("%h", home)
        if not pattern.startswith(("/", "~")):
            pattern = f"{home}/{pattern}"
    plain = re.fullmatch(r"(?:~[A-Za-z0-9_.-]+)?/[A-Za-z0-9_./@+-]+", pattern)
    return pattern if plain else None
