"""The HTTP edge: it makes a protocol for each accepted connection, checks deadlines once a second, and drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator

from ferry import limits
from ferry.callbacks import call_each
from ferry.clock import Clock
from ferry.edge.connections import Connected, Connections
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.places import PlaceHolder
from ferry.names import Endpoint
from ferry.policy.loops import Loops
from ferry.protocol.http1.request import RequestHead
from ferry.registry.routes import Routes
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import Report
from ferry.streams import ANY_VISITOR

from .backend import Backend, Backends
from .connection import ConnectionPhase, VisitorConnection
from .dates import Dates
from .h1 import CertificateFor, Entrance, H1Connection, Sni
from .own_page import OwnPage
from .redirect import RedirectProtocol
from .round import Round
from .shared import Bounds, IsReserved, Shared
from .tunnel_tls import client_context

_log = logging.getLogger("ferry.edge")


class HttpEdge:
    """Serves all `http` tunnels of a worker, on any number of listeners.

    `is_reserved(host)` says whether an unrouted name is reserved (503 with Retry-After) or free (404). `secret` belongs
    to this installation; the marks that `policy.loops` derives from it must stay the same. `to_ssh` returns the answer to
    an SSH client that has come to one of the listeners, `own_page` the page at the gateway's own name.
    """

    def __init__(
        self,
        routes: Routes,
        visits: VisitsInForce,
        *,
        domain: str,
        clock: Clock,
        report: Report,
        is_reserved: IsReserved,
        secret: bytes,
        to_ssh: Callable[[], bytes],
        own_page: Callable[[], OwnPage],
        gateway: Endpoint = ANY_VISITOR,
        bounds: Bounds | None = None,
        limiter: ConnectionLimiter | None = None,
        connections: Connections | None = None,
    ) -> None:
        self.shared = Shared(
            domain=domain,
            clock=clock,
            report=report,
            is_reserved=is_reserved,
            gateway=gateway,
            tls=client_context(),
            bounds=bounds or Bounds(),
            loops=Loops(secret),
            to_ssh=to_ssh,
            own_page=own_page,
        )
        self.limiter = limiter = ConnectionLimiter(limits.CONNECTIONS_PER_VISITOR) if limiter is None else limiter
        self.all_connections = Connections(None, limiter.exempt, clock) if connections is None else connections
        self.dates = Dates(clock)
        self.round = Round()
        self.backends = Backends(self.shared, self.round, routes, visits, limiter.exempt, self._visitors_of)
        self.connections: set[VisitorConnection] = set()
        """The open connections of this edge."""
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        """Set when the last visitor leaves during a drain."""
        self.draining = False
        self.heads: dict[bytes, RequestHead] = {}
        routes.on_gone.append(self._forget_heads)
        self.all_connections.add(self._visitors)

    def _visitors(self) -> Iterable[Connected]:
        return self.connections

    @property
    def idle_streams(self) -> int:
        """The number of idle streams of all tunnels."""
        return sum(backend.idle_streams for backend in self.backends.made.values())

    def protocol(
        self, *, secure: bool, port: int, sni: Sni | None = None, certificate_for: CertificateFor | None = None
    ) -> H1Connection:
        """The protocol for one accepted connection. `port` is the port in visitors' URLs.

        `sni` and `certificate_for` are for secure listeners: a request gets 421 if its Host has another certificate
        than the connection's SNI name.
        """
        return H1Connection(self, self.shared, Entrance(secure, port, sni, certificate_for))

    def redirect(self, port: int) -> RedirectProtocol:
        """The protocol for one connection that speaks plain HTTP on the HTTPS port. `port` is the port in visitors'
        URLs."""
        return RedirectProtocol(port, self.dates)

    def requests_at(self, host: str) -> int:
        """The number of requests and upgraded connections of a hostname that are in progress."""
        backend = self.backends.made.get(host)
        return 0 if backend is None else backend.places.in_use

    def _visitors_of(self, backend: Backend) -> Iterator[PlaceHolder]:
        """The holders of places of `backend` now."""
        return (
            exchange
            for connection in self.connections
            for exchange in connection.exchanges
            if exchange.placed and exchange.backend is backend
        )

    # --- connections

    def _forget_heads(self, _tunnel: object) -> None:
        """A tunnel is gone: the next one of its name may have another Host, so no connection may reuse what it wrote for
        a request (`Forwarding.wire_of`)."""
        self.heads.clear()

    def joined(self, connection: VisitorConnection) -> None:
        """The connection has opened."""
        self.connections.add(connection)

    def left(self, connection: VisitorConnection) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self._empty.set()

    # --- time

    def start(self) -> None:
        """Begin to check deadlines."""
        self._timer = asyncio.get_running_loop().call_later(self.shared.bounds.tick_seconds, self._tick)

    def _tick(self) -> None:
        """Check all connections with one timer. A timer for each, set and cancelled with each request, would cost more
        than to compare ten thousand numbers a second."""
        self._look_at(iter(list(self.connections)))

    def _look_at(self, connections: Iterator[VisitorConnection]) -> None:
        """Disconnect the connections past their deadline, a few in each turn of the loop: a thousand connections of one
        attack expire together, and to cut them all at once stopped the loop for 28 ms.

        A check may reach code of the tunnel and of its owner's sessions. An error there ends one connection alone.
        """
        loop, now = asyncio.get_running_loop(), self.shared.clock.monotonic()
        ended = 0
        for connection in connections:
            phase = connection.phase
            if phase is ConnectionPhase.CLOSED:
                continue  # closed since the tick
            try:
                if 0.0 < connection.deadline <= now:
                    connection.expired()
                elif (connection.read_paused or connection.ended) and connection.has_left_unseen():
                    connection.abort()
                elif connection.awaits_visitor:
                    connection.check_pace(now)
            except Exception:
                _log.exception("ended a connection: its check failed")
                _cut(connection)
            ended += connection.phase is not phase
            if ended == limits.CUT_IN_A_TURN:
                self._timer = loop.call_later(limits.CUT_PAUSE_SECONDS, self._look_at, connections)
                return
        self._timer = loop.call_later(self.shared.bounds.tick_seconds, self._tick)
        self.heads.clear()
        backends = self.backends.made.values()
        call_each(_log, "could not close an idle stream", [backend.expire for backend in backends], now)

    # --- the end

    async def drain(self, seconds: float) -> None:
        """Read no more requests, give the current ones `seconds` to end, then cut all connections."""
        self.draining = True
        self._close_backends()
        for connection in list(self.connections):
            try:
                connection.drain()
            except Exception:
                _log.exception("ended a connection: it could not be drained")
                _cut(connection)
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        self.close()

    def close(self) -> None:
        """Cut all connections now. The caller closes the listeners that it opened."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self.connections):
            _cut(connection)
        self._close_backends()

    def _close_backends(self) -> None:
        for backend in self.backends.made.values():
            backend.close()


def _cut(connection: VisitorConnection) -> None:
    """Cut one of many connections: an error is logged, and the others get their turn."""
    try:
        connection.abort()
    except Exception:
        _log.exception("could not cut a connection")
