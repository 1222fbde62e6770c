"""TCP ports: the listening sockets of each `tcp` tunnel, and a bridge for each visitor."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import ip_address

from ferry import limits
from ferry.callbacks import call_each
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.kinds.base import ListenPort, ListenSocket, Opening
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.origins import Origins
from ferry.limiters.places import Places
from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.policy.grants import Grant, Use
from ferry.policy.principals import PublicVisitor
from ferry.policy.visits import Target, VisitPolicy
from ferry.registry.routes import Tunnel
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import Report

from .acceptor import EXHAUSTED
from .bridge import Bridge
from .connections import Connected, Connections
from .listeners import BindFailed, bind_all, endpoint_of
from .port_owner import PortOwners
from .reset import reset
from .server import server_on
from .socket_folder import InTheWay, bind, check
from .socks_guard import GuardedBridge
from .tcp_visitor import TcpVisitor

_log = logging.getLogger("ferry.edge")


class TcpListener:
    """The listening sockets of one tunnel, and its visitors."""

    def __init__(
        self,
        tunnel: Tunnel,
        sockets: Sequence[socket.socket],
        *,
        report: Report,
        clock: Clock,
        visitors: int,
        limiter: ConnectionLimiter,
        origins: Origins,
        connections: Connections,
        visits: VisitsInForce,
        open_proxy: Callable[[Tunnel], None] | None,
        closing: Callable[[], None] | None = None,
    ) -> None:
        """`closing` is called once, before it stops listening."""
        self.endpoints = [endpoint_of(sock.getsockname()) for sock in sockets if sock.family != socket.AF_UNIX]
        """The addresses it listens on."""
        self._closing = closing
        self._tunnel = tunnel
        self._report = report
        self._clock = clock
        self._visitors: dict[Bridge, TcpVisitor] = {}
        self._places = Places(visitors, limiter.exempt, self._visitors.values)
        self._of_client = 0
        """The number of visitors from the origin of the tunnel's own client."""
        self._limiter = limiter
        self._origins = origins
        self._connections = connections
        self._visits = visits
        self._decided: tuple[VisitPolicy, Grant | Refusal | None] | None = None
        """A policy, and its decision for all visitors; None if it decides on each visitor."""
        self._open_proxy = open_proxy
        self._guarded = open_proxy is not None
        self._closed = False
        self._empty: asyncio.Event | None = None
        """Set when the last visitor has left, if a caller waits for that."""
        self._servers = [server_on(sock, self._protocol, report=report, gate=connections.gate) for sock in sockets]

    def __len__(self) -> int:
        """The number of visitors now."""
        return len(self._visitors)

    async def wait_empty(self) -> None:
        """Return when no visitor is here."""
        if self._visitors:
            if self._empty is None:
                self._empty = asyncio.Event()
            await self._empty.wait()

    async def start(self) -> None:
        """Begin to accept. asyncio's and uvloop's own servers survive a lack of descriptors."""
        self._connections.add(self._visitors_now)
        for server in self._servers:
            await server.start()

    def close(self, *, cut: bool) -> None:
        """Stop listening. `cut` ends the visitors now, with RST; without it they stay until their streams end."""
        self._closed = True
        gone, self._closing = self._closing, None
        closers = [server.close for server in self._servers]
        call_each(_log, "could not close a port", closers if gone is None else [gone, *closers])
        self._servers.clear()
        if not self._visitors:
            self._connections.discard(self._visitors_now)
        if cut:
            call_each(_log, "could not cut a visitor", [bridge.cut for bridge in self._visitors])

    def _visitors_now(self) -> Iterable[Connected]:
        return self._visitors.values()

    def _protocol(self) -> asyncio.Protocol:
        tunnel = self._tunnel
        if self._guarded:
            return GuardedBridge(traffic=tunnel.traffic, owner=self, found=self._found_open_proxy).protocol()
        return Bridge(traffic=tunnel.traffic, owner=self).protocol()

    def connected(self, bridge: Bridge, transport: asyncio.Transport) -> None:
        """As in `ferry.edge.bridge.BridgeOwner`, and so is `ended`."""
        peer = endpoint_of(transport.get_extra_info("peername"))
        if self._closed:
            reset(transport)  # the loop accepted it before the close and made its transport afterwards
            return
        decision = self._decide(peer.host)
        if isinstance(decision, Refusal):
            self._refuse(transport, peer, decision.detail)
            return
        tunnel = self._tunnel
        own = endpoint_of(transport.get_extra_info("sockname"))
        of_client = tunnel.comes_from(self._origins.of(peer.host, own.host))
        if of_client and self._of_client >= limits.VISITORS_FROM_CLIENT:
            self._refuse(
                transport, peer, "too many visitors from the client's own address: does the tunnel lead to itself?"
            )
            return
        source = self._limiter.enter(peer.host)
        if source is None:
            self._refuse(transport, peer, "too many connections from this address")
            return
        now = self._clock.monotonic()
        visitor = TcpVisitor(bridge, transport, peer, now, source, of_client, self.ended)
        if not self._connections.admit(visitor, transport):
            self._limiter.leave(source)
            self._refuse(transport, peer, "too many connections to the gateway")
            return
        if not self._places.enter(visitor, Standing.SILENT, now):
            self._connections.left(visitor)
            self._limiter.leave(source)
            self._refuse(transport, peer, "too many visitors")
            return
        self._of_client += of_client
        self._visitors[bridge] = visitor
        tap = None if tunnel.tap is None else tunnel.tap.begin(None)
        bridge.join(transport, partial(tunnel.dial, decision, peer), tap)

    def _decide(self, host: str) -> Grant | Refusal:
        policy, decided, tunnel = self._visits.policy, self._decided, self._tunnel
        if decided is None or decided[0] is not policy:
            decided = self._decided = policy, policy.decide_for_all(Target(tunnel.address, tunnel.owner))
        if decided[1] is not None:
            return decided[1]
        return policy.decide(PublicVisitor(host, "tcp"), Target(tunnel.address, tunnel.owner))

    def _refuse(self, transport: asyncio.Transport, peer: Endpoint, reason: str) -> None:
        self._report("edge.refused", edge="tcp", status=0, peer=str(peer), reason=reason)
        reset(transport)

    def ended(self, bridge: Bridge) -> None:
        visitor = self._visitors.pop(bridge, None)
        if visitor is None:
            return  # a refused connection, which was never a visit
        self._limiter.leave(visitor.source)
        self._places.leave(visitor)
        self._connections.left(visitor)
        if not self._visitors:
            self._emptied()
        self._of_client -= visitor.of_client
        self._tunnel.traffic.visits += 1
        self._tunnel.visited(visitor.visit(self._tunnel, self._clock.monotonic()))

    def _emptied(self) -> None:
        if self._closed:
            self._connections.discard(self._visitors_now)
        if self._empty is not None:
            self._empty.set()
            self._empty = None

    def _found_open_proxy(self) -> None:
        found, self._open_proxy = self._open_proxy, None
        if found is not None:
            self.close(cut=True)
            found(self._tunnel)


class TcpEdge:
    """Opens ports for tunnels.

    The edge calls `open_proxy(tunnel)` once for a tunnel whose public port is a SOCKS proxy, after it has closed the
    port and cut the visitors; the callee must close the tunnel and tell the owner. `allow_open_proxy` turns this off.
    `limiter` counts visitors by address over all ports, and over the HTTP edge if both share it. `connections` are
    those of all edges; `visits` decides who may visit.
    """

    def __init__(
        self,
        *,
        report: Report,
        clock: Clock,
        visits: VisitsInForce,
        open_proxy: Callable[[Tunnel], None],
        allow_open_proxy: bool = False,
        visitors: int = limits.VISITORS_PER_TUNNEL,
        limiter: ConnectionLimiter | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._report = report
        self._clock = clock
        self._visits = visits
        self._open_proxy = open_proxy
        self._allow_open_proxy = allow_open_proxy
        self._visitors = visitors
        self._limiter = ConnectionLimiter(limits.CONNECTIONS_PER_VISITOR) if limiter is None else limiter
        self._connections = Connections(None, self._limiter.exempt, clock) if connections is None else connections
        self._origins = Origins()
        self._owners = PortOwners(report=report, clock=clock)

    async def listen(self, tunnel: Tunnel, grant: Grant, opening: Opening) -> TcpListener | Refusal:
        """Open a port for `tunnel` on all of its hosts, or on none, or a Unix socket. A public port is guarded. It is a
        `registry.routes.Ports`.

        On a host without IPv6 `::1` is skipped. Port 0 takes a free port. Raises LocalProtocolError unless `grant` allows
        the tunnel's owner to listen at its address.
        """
        grant.require(tunnel.address, tunnel.owner, Use.LISTEN)
        if isinstance(opening, ListenSocket):
            try:
                bound = bind(opening.root, opening.folder, opening.name, unlink=opening.unlink)
            except (InTheWay, OSError) as failure:
                return _socket_refusal(opening, failure)
            return await self._started(tunnel, [bound.sock], closing=bound.unlink)
        try:
            sockets = self._bound(opening)
        except BindFailed as failed:
            if failed.error.errno == errno.EADDRINUSE:
                self._owners.ask(opening.port)
            return _refusal(failed, asked=not opening.ipv4_too)
        return await self._started(tunnel, sockets, public=opening.public)

    def would_refuse(self, opening: Opening) -> Refusal | None:
        """The refusal that `listen` would return now, or None. Nobody can connect meanwhile, and no file is made."""
        if isinstance(opening, ListenSocket):
            try:
                check(opening.root, opening.folder, opening.name, unlink=opening.unlink)
            except (InTheWay, OSError) as failure:
                return _socket_refusal(opening, failure)
            return None
        try:
            sockets = self._bound(opening, listen=False)
        except BindFailed as failed:
            return _refusal(failed, asked=not opening.ipv4_too)
        for sock in sockets:
            sock.close()
        return None

    def _bound(self, opening: ListenPort, *, listen: bool = True) -> list[socket.socket]:
        """Sockets on all addresses of a port. Raises BindFailed."""
        return bind_all(
            [Endpoint(host, opening.port) for host in opening.hosts],
            report=self._report,
            ipv4_too=opening.ipv4_too,
            listen=listen,
        )

    async def _started(
        self,
        tunnel: Tunnel,
        sockets: Sequence[socket.socket],
        *,
        public: bool = False,
        closing: Callable[[], None] | None = None,
    ) -> TcpListener | Refusal:
        """A listener that accepts."""
        first = endpoint_of(sockets[0].getsockname())
        listener = TcpListener(
            tunnel,
            sockets,
            report=self._report,
            clock=self._clock,
            visitors=self._visitors,
            limiter=self._limiter,
            origins=self._origins,
            connections=self._connections,
            visits=self._visits,
            open_proxy=self._open_proxy if public and not self._allow_open_proxy else None,
            closing=closing,
        )
        try:
            await listener.start()
        except BaseException as error:
            listener.close(cut=True)
            if isinstance(error, OSError):  # no descriptor is left for a server
                return _refusal(BindFailed(first, error))
            raise
        return listener


def _socket_refusal(opening: ListenSocket, failure: InTheWay | OSError) -> Refusal:
    path = f"{opening.root}/{opening.folder}/{opening.name}"
    if isinstance(failure, InTheWay):
        return Refusal(f"{path} cannot be opened: {failure}", code="socket_in_use")
    return Refusal(
        "the gateway cannot open your socket now: ask the operator to look at the gateway's log",
        code="socket_unavailable",
        detail=f"{path} cannot be opened: {failure.strerror}; look at sshd.streamlocal_folder",
    )


def _with_zone(host: str) -> str:
    """What else to write in place of a link-local address, which needs its interface."""
    address = ip_address(host)
    return (
        f", or write [{host}%eth0] with the name of its interface" if address.is_link_local and "%" not in host else ""
    )


def _refusal(failed: BindFailed, *, asked: bool = False) -> Refusal:
    """`asked`: the client has written the address."""
    port = failed.endpoint.port
    match failed.error.errno:
        case errno.EADDRNOTAVAIL | errno.EINVAL if asked:
            return Refusal(
                f"{failed.endpoint.host} is no address of the gateway: leave it out{_with_zone(failed.endpoint.host)}",
                code="bind_address",
                detail=f"{failed.endpoint.host} is no address of this host",
            )
        case errno.EADDRINUSE:
            return Refusal(
                f"port {port} is in use by another program on this host: ask for another",
                code="port_in_use",
                detail=f"{failed.endpoint} is in use by another program",
            )
        case errno.EACCES:
            return Refusal(
                f"the gateway may not open port {port}: ask for one above 1023",
                code="port_forbidden",
                detail=f"this user may not bind {failed.endpoint}: it needs CAP_NET_BIND_SERVICE",
            )
        case number:
            detail = f"{failed.endpoint} cannot be opened: {failed.error.strerror}"
            return Refusal(
                f"the gateway cannot open port {port} now: ask the operator to look at the gateway's log",
                code="port_unavailable",
                detail=detail if number in EXHAUSTED else f"{detail}; look at tcp.public_addresses",
            )
