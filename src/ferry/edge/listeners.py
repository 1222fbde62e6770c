"""Listening sockets: bind all of a list or none. Errors say what to change."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from ferry import limits
from ferry.errors import StartupError
from ferry.names import Endpoint
from ferry.report import Report

from .port_owner import port_owner

_MISSING: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # no such address, no IPv6 in the kernel
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # tcp(7); Python 3.12 names it
_SAME_PORT_TRIES: Final = 20


class BindFailed(Exception):
    """The operating system refused to bind one address; `error` is its answer."""

    def __init__(self, endpoint: Endpoint, error: OSError) -> None:
        super().__init__(f"{endpoint}: {error.strerror}")
        self.endpoint = endpoint
        self.error = error


async def listen_on(endpoints: Sequence[Endpoint], *, setting: str, report: Report) -> list[socket.socket]:
    """Non-blocking listening sockets for all of `endpoints`, or none.

    `setting` is the configuration field that has them. `::` means all addresses, IPv4 too. A loopback address that this
    host lacks is skipped and reported, if another address could be bound. Raises StartupError, which names the program
    on the port and says what to change.
    """
    try:
        return bind_all(endpoints, report=report)
    except BindFailed as failed:
        # To find the port's owner we read all of /proc. A running gateway also comes here on reload, so use a thread.
        raise StartupError(await asyncio.to_thread(_explain, failed, setting)) from failed.error


def bind_all(
    endpoints: Sequence[Endpoint], *, report: Report, ipv4_too: bool = True, listen: bool = True
) -> list[socket.socket]:
    """As `listen_on`, but raises BindFailed. Port 0 gives all addresses of the list the same free port. `ipv4_too`: `::`
    means IPv4 too, unless 0.0.0.0 is in the list. Without `listen` the sockets are bound only: nobody can connect."""
    for _ in range(_SAME_PORT_TRIES):
        try:
            return _bind_once(endpoints, report, ipv4_too=ipv4_too, listen=listen)
        except BindFailed as failed:
            # Another program may use the first address's port at the next address: try another port.
            if failed.endpoint.port == 0 or endpoints[0].port != 0 or failed.error.errno != errno.EADDRINUSE:
                raise
            last = failed
    raise last


def _bind_once(endpoints: Sequence[Endpoint], report: Report, *, ipv4_too: bool, listen: bool) -> list[socket.socket]:
    skipped: BindFailed | None = None
    any_ipv4 = {endpoint.port for endpoint in endpoints if endpoint.host == "0.0.0.0"}
    with ExitStack() as undo:
        bound: list[socket.socket] = []
        for asked in endpoints:
            endpoint = asked
            if asked.port == 0 and bound:
                endpoint = Endpoint(asked.host, bound[0].getsockname()[1])
            try:
                with_ipv4 = ipv4_too and asked.port not in any_ipv4
                bound.append(undo.enter_context(_bind(endpoint, ipv4_too=with_ipv4, listen=listen)))
            except BindFailed as failed:
                if failed.error.errno not in _MISSING or not ipaddress.ip_address(endpoint.host).is_loopback:
                    raise
                skipped = failed
                report("listener.skipped", address=str(endpoint), reason=failed.error.strerror)
        if not bound and skipped is not None:
            raise skipped
        undo.pop_all()
        return bound


def _bind(endpoint: Endpoint, *, ipv4_too: bool, listen: bool) -> socket.socket:
    try:
        return _open(endpoint, ipv4_too=ipv4_too, listen=listen)
    except OSError as error:
        if endpoint.host == "::" and ipv4_too and error.errno in _MISSING:
            # all addresses of a host without IPv6
            return _bind(Endpoint("0.0.0.0", endpoint.port), ipv4_too=False, listen=listen)
        raise BindFailed(endpoint, error) from error


def _open(endpoint: Endpoint, *, ipv4_too: bool, listen: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with ExitStack() as undo:
        sock = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setblocking(False)
        # On Linux this allows a port with old connections in TIME_WAIT, but not one with another listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # It matters for `::` alone: any other address has one family.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if ipv4_too else 1)
        set_options(sock)
        sock.bind(_name_of(endpoint))
        if listen:
            sock.listen(limits.ACCEPT_BACKLOG)
        undo.pop_all()
        return sock


def _name_of(endpoint: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    """The name to bind: Python takes the zone of a link-local address (RFC 4007 §11) as a number beside it. Raises
    OSError."""
    address, _, zone = endpoint.host.partition("%")
    if not zone:
        return address, endpoint.port
    try:
        index = int(zone) if zone.isdecimal() and len(zone) < 10 else socket.if_nametoindex(zone)
    except OSError:
        raise OSError(errno.EADDRNOTAVAIL, f"there is no interface {zone}") from None
    return address, endpoint.port, 0, index


def set_options(sock: socket.socket) -> None:
    """Set the options of all visitors' connections. On Linux an accepted connection inherits its listening socket's.

    Without keepalive a visitor that vanishes (a phone out of reach) would hold a channel for ever.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, limits.VISITOR_UNSENT_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probe_every = max(1, limits.VISITOR_KEEPALIVE_SECONDS // limits.VISITOR_KEEPALIVE_PROBES)
    for option, value in (
        ("TCP_KEEPIDLE", limits.VISITOR_KEEPALIVE_SECONDS),
        ("TCP_KEEPINTVL", probe_every),
        ("TCP_KEEPCNT", limits.VISITOR_KEEPALIVE_PROBES),
    ):
        if (number := getattr(socket, option, None)) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, number, value)


def endpoint_of(name: object) -> Endpoint:
    """The Endpoint of a socket's name or a transport's `peername`. An IPv4-mapped IPv6 address becomes IPv4. Whoever comes
    by a Unix socket is on this host: `127.0.0.1:0`.

    A peer that is gone has no name; for it this returns `0.0.0.0:0`.
    """
    if isinstance(name, str | bytes):
        return Endpoint("127.0.0.1", 0)
    if not isinstance(name, tuple):
        return Endpoint("0.0.0.0", 0)
    host = str(name[0])
    return Endpoint(host.removeprefix("::ffff:") if "." in host else host, int(name[1]))


def _explain(failed: BindFailed, setting: str) -> str:
    endpoint, error = failed.endpoint, failed.error
    match error.errno:
        case errno.EADDRINUSE:
            variable = "FERRY_" + setting.upper().replace(".", "__")
            return (
                f"{endpoint} is in use by {port_owner(endpoint.port)}: stop that program or set {setting} "
                f"(in the file, or {variable}=ADDRESS:PORT)"
            )
        case errno.EACCES:
            return (
                f"this user may not bind {endpoint} (ports below 1024 need CAP_NET_BIND_SERVICE): "
                f"set {setting} to a higher port, or run the gateway as the service that `ferry install-service` writes"
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"{endpoint.host} is not an address of this host: set {setting} to one that `ip address` lists"
        case _:
            return f"{endpoint} cannot be bound ({error.strerror}): set {setting}"
