"""What a client may ask for: global requests by their names (RFC 4254 §4), channels by their types (§5.1).

Each is a line of a table. asyncssh would look for a method with the name that the client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError
from asyncssh.packet import SSHPacket

from ferry import limits

from .turns import Step

if TYPE_CHECKING:
    from .hardening import HardenedConnection

_NO_VPN: Final = "Ferry forwards TCP only, it is no VPN (no -w): WireGuard is made for that"


def _keepalive(_connection: HardenedConnection, _packet: SSHPacket) -> Step:
    return lambda: True


def _forward(connection: HardenedConnection, packet: SSHPacket) -> Step:
    host, port = _host_and_port(packet)
    client = connection.client
    asked = client.forward_read()
    return lambda: client.forward_requested(asked, host, port, partial(connection.forward_decided, port))


def _cancel(connection: HardenedConnection, packet: SSHPacket) -> Step:
    host, port = _host_and_port(packet)
    return lambda: connection.client.forward_cancelled(host, port)


def _host_and_port(packet: SSHPacket) -> tuple[bytes, int]:
    host, port = packet.get_string()[: limits.HOST_BYTES + 1], packet.get_uint32()
    packet.check_end()
    return host, port


def _socket_forward(connection: HardenedConnection, packet: SSHPacket) -> Step:
    path = packet.get_string()[: limits.HOST_BYTES].decode("utf-8", "backslashreplace")
    client = connection.client
    client.asked += 1
    why = "a socket path cannot be forwarded: write -R NAME:80:... or -R 0:..."

    def refuse() -> bool:
        client.refused_form(f"-R {path}", why, kept="-R PATH")
        return False

    return refuse


GLOBAL_REQUESTS: Final[Mapping[bytes, Callable[[HardenedConnection, SSHPacket], Step]]] = MappingProxyType(
    {
        b"tcpip-forward": _forward,
        b"cancel-tcpip-forward": _cancel,
        b"streamlocal-forward@openssh.com": _socket_forward,
        b"keepalive@openssh.com": _keepalive,
    }
)
"""Each takes what follows the name and the wish for a reply, and gives what decides the request in its turn."""


Opened = tuple[Any, Any]
"""A channel, and the asyncssh session that it is for, if it is one of asyncssh's."""


def _session(connection: HardenedConnection, packet: SSHPacket) -> Opened:
    packet.check_end()
    screen = connection.front.screen_for(connection.client) if connection.may_request() else None
    if not screen:
        raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many sessions")
    return cast(Opened, screen)


def _direct(connection: HardenedConnection, packet: SSHPacket) -> Opened:
    host, port = packet.get_string(), packet.get_uint32()
    packet.get_string()  # the originator that the client claims: not to be believed, not used
    packet.get_uint32()
    packet.check_end()
    return connection.client.direct_requested(host, port), None


def _direct_socket(_connection: HardenedConnection, _packet: SSHPacket) -> Opened:
    raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, "socket paths cannot be reached through this gateway")


def _tun(connection: HardenedConnection, _packet: SSHPacket) -> Opened:
    if connection.may_request():
        connection.client.refused_form("-w", _NO_VPN)
    raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, _NO_VPN)


CHANNELS: Final[Mapping[bytes, Callable[[HardenedConnection, SSHPacket], Opened]]] = MappingProxyType(
    {
        b"session": _session,
        b"direct-tcpip": _direct,
        b"direct-streamlocal@openssh.com": _direct_socket,
        b"tun@openssh.com": _tun,
    }
)
"""Each takes what follows the type, the number and the window. Raises ChannelOpenError."""
