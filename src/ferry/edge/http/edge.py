"""The HTTP edge: makes a protocol for each accepted connection, ticks once a second, and drains."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from ferry import limits
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
from .connection import Phase, VisitorConnection
from .dates import Dates
from .h1 import CertificateFor, Entrance, H1Connection, Sni
from .redirect import RedirectProtocol
from .round import Round
from .shared import Bounds, Known, Shared
from .tunnel_tls import client_context


class HttpEdge:
    """Serves every `http` tunnel of a worker, on any number of listeners.

    `known(host)` tells whether an unrouted name is reserved (503 with Retry-After) or nobody's (404). `secret` is this
    installation's; what is made of it (`policy.loops`) must stay the same.
    """

    def __init__(
        self,
        routes: Routes,
        visits: VisitsInForce,
        *,
        domain: str,
        clock: Clock,
        report: Report,
        known: Known,
        secret: bytes,
        gateway: Endpoint = ANY_VISITOR,
        bounds: Bounds | None = None,
        limiter: ConnectionLimiter | None = None,
        connections: Connections | None = None,
    ) -> None:
        limiter = ConnectionLimiter(limits.CONNECTIONS_PER_VISITOR) if limiter is None else limiter
        self.shared = Shared(
            domain=domain,
            clock=clock,
            report=report,
            known=known,
            gateway=gateway,
            tls=client_context(),
            bounds=bounds or Bounds(),
            limiter=limiter,
            connections=Connections(None, limiter.exempt, clock) if connections is None else connections,
            loops=Loops(secret),
            dates=Dates(clock),
            round=Round(),
        )
        self.backends = Backends(self.shared, routes, visits, self._visitors_of)
        self.connections: set[VisitorConnection] = set()
        """Open now."""
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        """Set when the last visitor leaves while draining."""
        self.draining = False
        self.heads: dict[bytes, RequestHead] = {}
        self.shared.connections.add(self._visitors)

    @property
    def visitors(self) -> int:
        """How many connections are open now."""
        return len(self.connections)

    def _visitors(self) -> Iterable[Connected]:
        return self.connections

    @property
    def idle_streams(self) -> int:
        """Streams that rest. Nothing outside shows it: this is what tests look at."""
        return sum(backend.idle_streams for backend in self.backends.made.values())

    def protocol(
        self, *, secure: bool, port: int, sni: Sni | None = None, certificate_for: CertificateFor | None = None
    ) -> H1Connection:
        """The protocol for one accepted connection. `port` is the one that visitors know us by.

        `sni` and `certificate_for` are for secure listeners: a request whose Host has another certificate than the
        name that the connection was opened for gets 421.
        """
        return H1Connection(self, self.shared, Entrance(secure, port, sni, certificate_for))

    def redirect(self, port: int) -> RedirectProtocol:
        """The protocol for one connection that speaks plain HTTP on the HTTPS port, which visitors know as `port`."""
        return RedirectProtocol(port, self.shared.dates)

    def _visitors_of(self, backend: Backend) -> Iterator[PlaceHolder]:
        """Who holds a place of `backend` now."""
        return (
            exchange
            for connection in self.connections
            for exchange in connection.exchanges
            if exchange.placed and exchange.backend is backend
        )

    # --- connections

    def joined(self, connection: VisitorConnection) -> None:
        """It is there."""
        self.connections.add(connection)

    def left(self, connection: VisitorConnection) -> None:
        """It is gone."""
        self.connections.discard(connection)
        if self.draining and not self.connections:
            self._empty.set()

    # --- time

    def start(self) -> None:
        """Begin to watch deadlines."""
        self._timer = asyncio.get_running_loop().call_later(self.shared.bounds.tick_seconds, self._tick)

    def _tick(self) -> None:
        """One timer for all connections: a timer each, set and cancelled with every request, would cost more than
        looking at ten thousand numbers a second."""
        self._look_at(iter(list(self.connections)))

    def _look_at(self, connections: Iterator[VisitorConnection]) -> None:
        """Part with those whose time is up, a few in one turn of the loop: an attack's thousand connections expire
        together, which took 28 ms that everybody waited."""
        loop, now = asyncio.get_running_loop(), self.shared.clock.monotonic()
        parted = 0
        for connection in connections:
            phase = connection.phase
            if phase is Phase.CLOSED:
                continue  # since the tick
            if 0.0 < connection.deadline <= now:
                connection.expired()
            elif (connection.paused or connection.ended) and connection.has_left_unseen():
                connection.abort()
            elif connection.waited_for:
                connection.check_pace(now)
            parted += connection.phase is not phase
            if parted == limits.PARTED_IN_A_TURN:
                self._timer = loop.call_later(limits.PARTED_PAUSE_SECONDS, self._look_at, connections)
                return
        for backend in list(self.backends.made.values()):
            backend.expire(now)
        self.heads.clear()
        self._timer = loop.call_later(self.shared.bounds.tick_seconds, self._tick)

    # --- the end

    async def drain(self, seconds: float) -> None:
        """Read no more requests; give those in flight `seconds` to end; then cut what is left."""
        self.draining = True
        for backend in self.backends.made.values():
            backend.close()
        for connection in list(self.connections):
            connection.drain()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
        self.close()

    def close(self) -> None:
        """Cut everything now. Listeners are closed by whoever opened them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self.connections):
            connection.abort()
        for backend in self.backends.made.values():
            backend.close()
