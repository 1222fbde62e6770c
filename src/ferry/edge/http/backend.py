"""The edge's state of one tunnel: the places of its visitors, and its idle streams.

A request takes the stream that was used last, so that the others grow old and close.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from ferry import limits
from ferry.callbacks import call_each
from ferry.errors import Refusal
from ferry.kinds.web import HTTP
from ferry.limiters.places import PlaceHolder, Places
from ferry.limiters.sources import ExemptNetworks
from ferry.policy.grants import Grant
from ferry.policy.principals import PublicVisitor
from ferry.policy.visits import Target
from ferry.registry.routes import Routes, Tunnel
from ferry.registry.visits_in_force import VisitsInForce

from .downstream import Downstream
from .hints import Hints
from .round import Round
from .shared import Shared
from .upstream import Upstream

_log = logging.getLogger("ferry.edge")


class Backend:
    """The first visit of a tunnel makes it, the end of the tunnel's route closes it.

    `visitors` lists the holders of its places now. It is called when places run short. `exempt` are the addresses
    that the limits per source leave out.
    """

    __slots__ = ("_closed", "_for_all", "_hints", "_idle", "_round", "_shared", "mark", "places", "tunnel")

    def __init__(
        self,
        shared: Shared,
        round_: Round,
        tunnel: Tunnel,
        exempt: ExemptNetworks,
        visitors: Callable[[Backend], Iterable[PlaceHolder]],
    ) -> None:
        self.tunnel = tunnel
        self._for_all: Grant | None = None
        self.mark = shared.loops.mark(tunnel.address.name)
        """The mark of this tunnel in the `CDN-Loop` field of its requests."""
        self.places = Places(shared.bounds.visitors_per_tunnel, exempt, lambda: visitors(self))
        """The places for requests in progress and for upgraded connections."""
        self._shared = shared
        self._round = round_
        self._idle: list[Upstream] = []
        self._hints = Hints(tunnel)
        self._closed = False

    @property
    def host_header(self) -> bytes:
        """The Host that the service gets; empty: the visitor's."""
        return self.tunnel.host_header

    @property
    def idle_streams(self) -> int:
        """The number of idle streams."""
        return len(self._idle)

    @property
    def pace_seconds(self) -> float:
        """The time for which a visitor may be slow. It is shorter while more than half of the places are taken."""
        seconds, places = self._shared.bounds.pace_seconds, self.places
        return min(seconds, limits.CROWDED_PACE_SECONDS) if places.in_use > places.most // 2 else seconds

    def take(self, now: float) -> Upstream | None:
        """The stream that was used last, if it has not been idle too long."""
        if not self._idle:
            return None
        upstream = self._idle.pop()
        if now - upstream.idle_since < self._shared.bounds.pool_idle_seconds:
            return upstream
        self._idle.append(upstream)
        self.close_idle()  # all others are older
        return None

    def new_stream(self, grant: Grant | None) -> Upstream:
        """A new stream. It dials at its first request, with `grant`, or with the one for all visitors if that is None."""
        if grant is None:
            grant = self._for_all
            assert grant is not None
        return Upstream(self._shared, self._round, self.tunnel, grant, self._hints, self._lost)

    def open_to_all(self, grant: Grant) -> None:
        """Take `grant`, which is for all visitors."""
        self._for_all = grant

    def keep(self, upstream: Upstream, now: float) -> None:
        """Keep the stream for another request, or close it if there are enough idle ones."""
        if self._closed or len(self._idle) >= self._shared.bounds.pool_idle_streams:
            upstream.discard()
            return
        upstream.idle_since = now
        self._idle.append(upstream)

    def _lost(self, upstream: Upstream) -> None:
        """An idle stream has ended."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def expire(self, now: float) -> None:
        """Close the streams that have been idle too long; the oldest are first in the list."""
        oldest = now - self._shared.bounds.pool_idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).discard()

    def close_idle(self) -> None:
        """Close all idle streams."""
        idle, self._idle = self._idle, []
        call_each(_log, "could not close an idle stream", [upstream.discard for upstream in idle])

    def close(self) -> None:
        """The tunnel takes no more visitors, or the edge stops. Streams in use close after their request."""
        self._closed = True
        self.close_idle()


class Backends(dict[str, Backend]):
    """The backends of one edge that all visitors may visit, by host: one look-up routes and admits a request.

    A host without an entry may have a backend all the same, in `made`: `find` asks the policy about this visitor. An
    entry lasts until its tunnel ends or the policy changes. `exempt` and `visitors` are as in `Backend`.
    """

    def __init__(
        self,
        shared: Shared,
        round_: Round,
        routes: Routes,
        visits: VisitsInForce,
        exempt: ExemptNetworks,
        visitors: Callable[[Backend], Iterable[PlaceHolder]],
    ) -> None:
        super().__init__()
        self.made: dict[str, Backend] = {}
        """The backends of all tunnels that had a visit, by host."""
        self._shared = shared
        self._round = round_
        self._tunnels = routes.hosts[HTTP.kind]
        self._visits = visits
        self._exempt = exempt
        self._visitors = visitors
        routes.on_gone.append(self._gone)
        visits.on_change.append(self.clear)  # so that the next visit of each tunnel asks the new policy

    def find(self, host: str, visitor: Downstream) -> tuple[Backend, Grant] | Refusal | None:
        """The backend of `host` with a grant for `visitor`, a refusal if `visitor` may not visit it, or None if no
        tunnel serves it."""
        tunnel = self._tunnels.get(host)
        if tunnel is None:
            return None
        policy, target = self._visits.policy, Target(tunnel.address, tunnel.owner)
        for_all = policy.decide_for_all(target)
        decision = (
            policy.decide(PublicVisitor(visitor.peer.host, visitor.scheme), target) if for_all is None else for_all
        )
        if isinstance(decision, Refusal):
            return decision
        backend = self.made.get(host)
        if backend is None:
            backend = self.made[host] = Backend(self._shared, self._round, tunnel, self._exempt, self._visitors)
        if for_all is not None:
            backend.open_to_all(decision)
            self[host] = backend
        return backend, decision

    def _gone(self, tunnel: Tunnel) -> None:
        """Another tunnel serves its address from now on, or none."""
        host = tunnel.address.name
        backend = self.made.get(host)
        if backend is not None and backend.tunnel is tunnel:
            del self.made[host]
            self.pop(host, None)
            backend.close()
