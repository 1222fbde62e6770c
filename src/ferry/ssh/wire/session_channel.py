"""A session channel (RFC 4254 §6), with tables of the messages and requests that it takes.

asyncssh looks up a method by the name that the client sends, and keeps each request's packet and all variables of each
`env`: 2,000 of 240 KB took the process from 51 to 510 MB. This channel looks requests up in a table, reads only the
fields that it needs, and answers at once. Of the environment Ferry reads `NO_COLOR` and `SELF_REMOTE_HOST`, of the terminal
its kind and its width, and drops the rest unread.

asyncssh sends all waiting text as soon as the window opens, even if the socket is full: 256 KiB in packets of one byte
stopped the gateway for 4 s. Here text waits for its turn, like the data of tunnels.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

from asyncssh.channel import SSHServerChannel
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.packet import PacketDecodeError, SSHPacket, String, UInt32

from ferry import limits
from ferry.names import printable, typed_name

from .channel_state import Waiting


class SessionEvents(Protocol):
    """The session of a channel, which gets the client's requests."""

    def terminal_requested(self, name: str, columns: int, /) -> bool:
        """The client requests a terminal: its TERM, and its width (0: unknown). Returns whether it gets one."""
        ...

    def resized(self, columns: int, /) -> None:
        """The terminal has another width (0: unknown)."""
        ...

    def color_refused(self) -> None:
        """The client's environment has `NO_COLOR`."""
        ...

    def host_told(self, host: str, /) -> None:
        """The client's environment says how its machine is called (`SELF_REMOTE_HOST`). Escaped, never empty."""
        ...

    def started(self, command: str, /) -> bool:
        """The client has sent its words: `shell` (none) or `exec`. False if it has sent them before."""
        ...

    def subsystem_wanted(self, name: str, /, *, kept: str) -> bool:
        """The client requests a subsystem. `kept` is the text to remember of its name. Returns whether it is answered."""
        ...

    def refuse_form(self, asked: str, why: str, /, *, kept: str = "") -> None:
        """A request that Ferry does not support. `kept` is the text to remember of it."""
        ...

    def quit(self) -> None:
        """The client has sent a break."""
        ...


class SessionTransport(Protocol):
    """The connection, for its sessions: sending in turn, and the rate of requests."""

    @property
    def may_send(self) -> bool: ...

    def send_data(self, channel: int, data: bytes | bytearray | memoryview, /) -> None: ...

    def await_turn(self, channel: Waiting, /) -> None: ...

    def may_request(self) -> bool: ...


class SessionChannel(SSHServerChannel[bytes]):
    """It refuses the features of a shell with one sentence each, and the session goes on."""

    def __init__(self, connection: Any) -> None:
        loop = asyncio.get_running_loop()
        window, packet = limits.SESSION_WINDOW_BYTES, limits.CHANNEL_PACKET_BYTES
        super().__init__(connection, loop, True, False, False, 0, 0, None, "strict", window, packet)
        self._connection: SessionTransport = connection
        self.waiting = False
        """The channel waits in the connection's round of channels with bytes to send (set by the connection)."""

    @property
    def room(self) -> int:
        """Bytes of text that would leave at once; none while others wait."""
        return 0 if self._send_buf else self._send_window

    def _flush_send_buf(self) -> None:
        """Asyncssh calls this for new text, after a window adjust, and to close."""
        if self.waiting:
            return
        while self.send_one():
            pass
        if self._send_buf and self._send_window > 0:
            self._connection.await_turn(self)

    def send_one(self) -> bool:
        """Send one packet of text, and after the last one an end-of-file or a close. True if more can follow."""
        if self._send_buf:
            if self._send_window <= 0 or self._send_chan is None or not self._connection.may_send:
                return False
            text, kind = self._take(min(self._send_window, self._send_pktsize))
            self._send_window -= len(text)
            if kind is None:
                self._connection.send_data(self._send_chan, text)
            else:
                self.send_packet(MSG_CHANNEL_EXTENDED_DATA, UInt32(kind), String(bytes(text)))
        if self._send_buf:
            return self._send_window > 0
        if self._send_state == "eof_pending":
            self.send_packet(MSG_CHANNEL_EOF)
            self._send_state = "eof"
        elif self._send_state == "close_pending":
            self._close_send()
        return False

    def _take(self, most: int) -> tuple[bytearray, int | None]:
        """Remove and return the first waiting bytes: one line, or `most` bytes of it. With them, the type of their
        extended data (RFC 4254 §5.2), which stderr is."""
        text, kind = self._send_buf[0]
        if len(text) > most:
            first = text[:most]
            del text[:most]
        else:
            first = text
            del self._send_buf[0]
        self._send_buf_len -= len(first)
        return first, kind

    def _process_request(self, _message: int, _sequence: int, packet: SSHPacket) -> None:
        kind = packet.get_string()
        wants_reply = packet.get_boolean()
        # asyncssh forgets it at the end, so that neither keeps the other alive
        session = cast("SessionEvents | None", self._session)
        if session is None:
            return  # this channel has none yet
        if kind == b"window-change":  # it has no reply (§6.7), and costs no rate
            session.resized(_columns(packet))
            return
        granted = False
        if self._connection.may_request():
            wanted = _REQUESTS.get(kind)
            granted = wanted is not None and wanted(session, packet)
        if wants_reply:
            # asyncssh drops it after our close
            self.send_packet(MSG_CHANNEL_SUCCESS if granted else MSG_CHANNEL_FAILURE)

    def _process_extended_data(self, _message: int, _sequence: int, packet: SSHPacket) -> None:
        """Count it as data and drop it: no type of it is defined towards a server (§5.2)."""
        packet.get_uint32()
        self._process_data(_message, _sequence, packet)

    def _process_answer(self, _message: int, _sequence: int, _packet: SSHPacket) -> None:
        """Ignore it: we send no request that wants a reply."""

    def log_received_packet(self, *_args: object, **_kwargs: object) -> None:
        """There is no trace of packets."""

    log_sent_packet = log_received_packet

    _packet_handlers: Any = MappingProxyType(
        {
            MSG_CHANNEL_WINDOW_ADJUST: SSHServerChannel._process_window_adjust,
            MSG_CHANNEL_DATA: SSHServerChannel._process_data,
            MSG_CHANNEL_EXTENDED_DATA: _process_extended_data,
            MSG_CHANNEL_EOF: SSHServerChannel._process_eof,
            MSG_CHANNEL_CLOSE: SSHServerChannel._process_close,
            MSG_CHANNEL_REQUEST: _process_request,
            MSG_CHANNEL_SUCCESS: _process_answer,
            MSG_CHANNEL_FAILURE: _process_answer,
        }
    )


# --- requests: each function returns whether it grants the request

_NO_COLOR: Final = b"NO_COLOR"
_READ_VARIABLES: Final = frozenset({_NO_COLOR, b"SELF_REMOTE_HOST"})


def _pty(session: SessionEvents, packet: SSHPacket) -> bool:
    try:
        name = packet.get_string()[: limits.TERM_BYTES].decode("ascii", "replace")
    except PacketDecodeError:
        name = ""
    return session.terminal_requested(name, _columns(packet))


def _columns(packet: SSHPacket) -> int:
    """The width of a terminal in characters; 0 if the client tells none."""
    try:
        return packet.get_uint32()
    except PacketDecodeError:
        return 0


def _env(session: SessionEvents, packet: SSHPacket) -> bool:
    try:
        name = packet.get_string()
        value = packet.get_string() if name in _READ_VARIABLES else b""
    except PacketDecodeError:
        return False
    if not value:
        return False
    if name == _NO_COLOR:
        session.color_refused()
        return True
    host = printable(value[: limits.HOST_LABEL_CHARS].decode("utf-8", "backslashreplace"), limits.HOST_LABEL_CHARS)
    session.host_told(host)
    return True


def _shell(session: SessionEvents, packet: SSHPacket) -> bool:
    del packet
    return session.started("")


def _exec(session: SessionEvents, packet: SSHPacket) -> bool:
    return session.started(packet.get_string().decode("utf-8", "backslashreplace"))


def _subsystem(session: SessionEvents, packet: SSHPacket) -> bool:
    name = packet.get_string()[:80].decode("utf-8", "backslashreplace")
    return session.subsystem_wanted(name, kept=typed_name(name))


def _break(session: SessionEvents, packet: SSHPacket) -> bool:
    del packet
    session.quit()
    return True


def _windows(session: SessionEvents, packet: SSHPacket) -> bool:
    del packet
    session.refuse_form("-X", "this gateway does not forward X11, only TCP: leave -X out")
    return False


def _agent(session: SessionEvents, packet: SSHPacket) -> bool:
    del packet
    session.refuse_form("-A", "this gateway does not use your agent, which is safer at home: leave -A out")
    return False


_REQUESTS: Final[Mapping[bytes, Callable[[SessionEvents, SSHPacket], bool]]] = MappingProxyType(
    {
        b"pty-req": _pty,
        b"env": _env,
        b"shell": _shell,
        b"exec": _exec,
        b"subsystem": _subsystem,
        b"break": _break,
        b"x11-req": _windows,
        b"auth-agent-req@openssh.com": _agent,
    }
)
"""All other requests are refused unread: `signal`, `xon-xoff`, `eow@openssh.com`, and unknown ones."""
