"""The requests that a client may send: global requests by name (RFC 4254 §4), opens of channels by type (§5.1).

Each has an entry in a table, and calls the `ConnectionHandler`, which carries it out. asyncssh would look up a method
by the name that the client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Protocol

from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError
from asyncssh.packet import PacketDecodeError, SSHPacket

from ferry import limits
from ferry.protocol.socket_path import SOCKET_PORT

from .channel import TunnelChannel
from .host_key_proofs import PROVE
from .turns import Reply, Step

_NOBODY_YET: Final = "nobody has logged in"
_NO_VPN: Final = "Ferry forwards TCP only, it is no VPN (no -w): WireGuard is made for that"


class Answered(Protocol):
    """Takes the decision on a forward, once."""

    def __call__(
        self, bound: int | None, /, *, sent: Callable[[float], None] | None = None, held: bool = False
    ) -> None:
        """`bound` is the port, or None for a refusal. A `held` answer waits until the connection's answers are released.
        `sent` is called when the answer has been sent, with the seconds for which nothing may follow it; never if the
        connection closes before."""
        ...


DIRECT_TCPIP: Final = b"direct-tcpip"
Opened = tuple[Any, Any]
"""A channel, and its asyncssh session if it is one of asyncssh's channels."""


class ConnectionHandler(Protocol):
    """It carries out a client's requests. asyncssh passes none before the log-in."""

    def forward_read(self, host: bytes, port: int, /) -> Callable[[Answered], None]:
        """A `tcpip-forward` has been read. The connection calls the result in its turn; it decides, and calls back
        once."""
        ...

    def forward_cancelled(self, host: bytes, port: int, /) -> bool:
        """A `cancel-tcpip-forward` has come. False if there is no such forward."""
        ...

    def form_refused(self, asked: str, why: str, /, *, kept: str = "") -> None:
        """A request that Ferry does not support. `asked` is its text as typed, `kept` the text to remember of it."""
        ...

    def session_requested(self) -> Opened:
        """The client opens a session. Raises ChannelOpenError if it has too many."""
        ...

    def direct_requested(self, host: bytes, port: int, /) -> TunnelChannel:
        """The client opens a `direct-tcpip` channel. Raises ChannelOpenError."""
        ...


class _Nobody:
    """Refuses all requests: before the log-in, or while the gateway disconnects the client."""

    def forward_read(self, _host: bytes, _port: int, /) -> Callable[[Answered], None]:
        return _not_granted

    def forward_cancelled(self, _host: bytes, _port: int, /) -> bool:
        return False

    def form_refused(self, _asked: str, _why: str, /, *, kept: str = "") -> None:
        """There is no session to show it."""

    def session_requested(self) -> Opened:
        raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, _NOBODY_YET)

    def direct_requested(self, _host: bytes, _port: int, /) -> TunnelChannel:
        raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, _NOBODY_YET)


def _not_granted(answer: Answered) -> None:
    answer(None)


NOBODY: Final[ConnectionHandler] = _Nobody()


class RequestingConnection(Protocol):
    """The connection of a request."""

    @property
    def handler(self) -> ConnectionHandler: ...

    def may_request(self) -> bool:
        """Count a request on a channel, or the open of a session. False if it is above the rate."""
        ...

    def forward_decided(
        self, port: int, bound: int | None, /, *, sent: Callable[[float], None] | None = None, held: bool = False
    ) -> None:
        """Answer a forward of `port`, as in `Answered`."""
        ...

    def prove_host_keys(self, wanted: Sequence[bytes], /) -> Reply:
        """The proofs that we hold these host keys, or a refusal."""
        ...


def _keepalive(_connection: RequestingConnection, _packet: SSHPacket) -> Step:
    return lambda: True


def _forward(connection: RequestingConnection, packet: SSHPacket) -> Step:
    host, port = _host_and_port(packet)
    decide = connection.handler.forward_read(host, port)
    return lambda: decide(partial(connection.forward_decided, port))


def _cancel(connection: RequestingConnection, packet: SSHPacket) -> Step:
    host, port = _host_and_port(packet)
    return lambda: connection.handler.forward_cancelled(host, port)


def _host_and_port(packet: SSHPacket) -> tuple[bytes, int]:
    host, port = packet.get_string()[: limits.HOST_BYTES + 1], packet.get_uint32()
    packet.check_end()
    return host, port


def _socket_forward(connection: RequestingConnection, packet: SSHPacket) -> Step:
    path = _path(packet)
    decide = connection.handler.forward_read(path, SOCKET_PORT)
    return lambda: decide(partial(connection.forward_decided, SOCKET_PORT))


def _socket_cancel(connection: RequestingConnection, packet: SSHPacket) -> Step:
    path = _path(packet)
    return lambda: connection.handler.forward_cancelled(path, SOCKET_PORT)


def _path(packet: SSHPacket) -> bytes:
    path: bytes = packet.get_string()[: limits.HOST_BYTES + 1]
    packet.check_end()
    return path


def _prove_host_keys(connection: RequestingConnection, packet: SSHPacket) -> Step:
    wanted: list[bytes] = []
    try:
        while packet and len(wanted) <= limits.HOST_KEYS_PROVED:
            wanted.append(packet.get_string())
    except PacketDecodeError:
        wanted = []
    return lambda: connection.prove_host_keys(wanted)


GLOBAL_REQUESTS: Final[Mapping[bytes, Callable[[RequestingConnection, SSHPacket], Step]]] = MappingProxyType(
    {
        b"tcpip-forward": _forward,
        b"cancel-tcpip-forward": _cancel,
        b"streamlocal-forward@openssh.com": _socket_forward,
        b"cancel-streamlocal-forward@openssh.com": _socket_cancel,
        b"keepalive@openssh.com": _keepalive,
        PROVE: _prove_host_keys,
    }
)
"""Each function reads the fields after the name and the want-reply flag. Its result decides the request in its turn."""


def _session(connection: RequestingConnection, packet: SSHPacket) -> Opened:
    packet.check_end()
    if not connection.may_request():
        raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many sessions")
    return connection.handler.session_requested()


def _direct(connection: RequestingConnection, packet: SSHPacket) -> Opened:
    host, port = packet.get_string(), packet.get_uint32()
    packet.get_string()  # the originator is the client's claim: we do not use it
    packet.get_uint32()
    packet.check_end()
    return connection.handler.direct_requested(host, port), None


def _direct_socket(connection: RequestingConnection, packet: SSHPacket) -> Opened:
    path = packet.get_string()[: limits.HOST_BYTES + 1]
    packet.get_string()  # reserved, and so is the number
    packet.get_uint32()
    packet.check_end()
    return connection.handler.direct_requested(path, SOCKET_PORT), None


def _tun(connection: RequestingConnection, _packet: SSHPacket) -> Opened:
    if connection.may_request():
        connection.handler.form_refused("-w", _NO_VPN)
    raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, _NO_VPN)


CHANNELS: Final[Mapping[bytes, Callable[[RequestingConnection, SSHPacket], Opened]]] = MappingProxyType(
    {
        b"session": _session,
        DIRECT_TCPIP: _direct,
        b"direct-streamlocal@openssh.com": _direct_socket,
        b"tun@openssh.com": _tun,
    }
)
"""Each function reads the fields after the type, the number and the window. Raises ChannelOpenError."""
