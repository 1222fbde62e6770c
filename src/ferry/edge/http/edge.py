"""The HTTP edge: makes a protocol for each accepted connection, ticks once a second, and drains."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator

from ferry import limits
from ferry.clock import Clock
from ferry.edge.connections import Connected, Connections
from ferry.names import Endpoint
from ferry.policy.crowd import Crowd
from ferry.policy.loops import Loops
from ferry.registry.routes import Routes
from ferry.report import Report
from ferry.streams import ANY_VISITOR

from .connection import Connection, Phase
from .dates import Dates
from .redirect import RedirectProtocol
from .state import Bounds, EdgeState, Known
from .tunnel_tls import client_context
from .visitor import CertificateFor, Sni, Visitor


class HttpEdge:
    """Serves every `http` tunnel of a worker, on any number of listeners.

    `known(host)` tells whether an unrouted name is reserved (503 with Retry-After) or nobody's (404). `secret` is this
    installation's; what is made of it (`policy.loops`) must stay the same.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        domain: str,
        clock: Clock,
        report: Report,
        known: Known,
        secret: bytes,
        gateway: Endpoint = ANY_VISITOR,
        bounds: Bounds | None = None,
        crowd: Crowd | None = None,
        connections: Connections | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        crowd = Crowd(limits.CONNECTIONS_PER_VISITOR) if crowd is None else crowd
        self._state = EdgeState(
            routes=routes,
            domain=domain,
            clock=clock,
            report=report,
            known=known,
            gateway=gateway,
            tls=client_context(),
            bounds=bounds,
            crowd=crowd,
            connections=Connections(None, crowd.exempt, clock) if connections is None else connections,
            loops=Loops(secret),
            dates=Dates(clock),
        )
        self._state.connections.add(self._visitors)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def visitors(self) -> int:
        """Connections open now."""
        return len(self._state.visitors)

    def _visitors(self) -> Iterable[Connected]:
        return self._state.visitors

    @property
    def idle_streams(self) -> int:
        """Streams resting in pools. Nothing outside shows it: this is what tests look at."""
        return sum(map(len, self._state.pools))

    def protocol(
        self, *, secure: bool, port: int, sni: Sni | None = None, certificate_for: CertificateFor | None = None
    ) -> Visitor:
        """The protocol for one accepted connection. `port` is the one that visitors know us by.

        `sni` and `certificate_for` are for secure listeners: a request whose Host has another certificate than the
        name that the connection was opened for gets 421.
        """
        return Visitor(self._state, secure=secure, port=port, sni=sni, certificate_for=certificate_for)

    def redirect(self, port: int) -> RedirectProtocol:
        """The protocol for one connection that speaks plain HTTP on the HTTPS port, which visitors know as `port`."""
        return RedirectProtocol(port, self._state.dates)

    def start(self) -> None:
        """Begin to watch deadlines."""
        self._timer = asyncio.get_running_loop().call_later(self._state.bounds.tick_seconds, self._tick)

    def _tick(self) -> None:
        """One timer for all connections: a timer each, set and cancelled with every request, would cost more than
        looking at ten thousand numbers a second."""
        self._look_at(iter(list(self._state.visitors)))

    def _look_at(self, visitors: Iterator[Connection]) -> None:
        """Part with those whose time is up, a few in one turn of the loop: an attack's thousand connections expire
        together, which took 28 ms that everybody waited."""
        state, loop = self._state, asyncio.get_running_loop()
        now = state.clock.monotonic()
        parted = 0
        for visitor in visitors:
            phase = visitor.phase
            if phase is Phase.CLOSED:
                continue  # since the tick
            if 0.0 < visitor.deadline <= now:
                visitor.expired()
            elif visitor.paused and visitor.has_left_unseen():
                visitor.abort()
            elif visitor.choked or phase is Phase.BODY:
                visitor.check_pace(now)
            parted += visitor.phase is not phase
            if parted == limits.PARTED_IN_A_TURN:
                self._timer = loop.call_later(limits.PARTED_PAUSE_SECONDS, self._look_at, visitors)
                return
        for pool in list(state.pools):
            pool.expire(now)
        state.heads.clear()
        self._timer = loop.call_later(state.bounds.tick_seconds, self._tick)

    async def drain(self, seconds: float) -> None:
        """Read no more requests; give those in flight `seconds` to end; then cut what is left."""
        state = self._state
        state.draining = True
        for visitor in list(state.visitors):
            visitor.drain()
        if state.visitors:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await state.empty.wait()
        self.close()

    def close(self) -> None:
        """Cut everything now. Listeners are closed by whoever opened them."""
        state = self._state
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for visitor in list(state.visitors):
            visitor.abort()
        for pool in list(state.pools):
            pool.close()
