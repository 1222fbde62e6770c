"""What the edge keeps of one tunnel: the places of its visitors, and its idle streams.

The stream used last is taken first, so that the others grow old and are closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ferry.policy.places import Places
from ferry.policy.shortage import Holder
from ferry.registry.routes import Tunnel

from .state import EdgeState

if TYPE_CHECKING:
    from .upstream import Upstream


class Pool:
    """Kept in `tunnel.edge_state`; emptied when the tunnel closes."""

    __slots__ = ("_closed", "_edge", "_idle", "mark", "places")

    def __init__(self, edge: EdgeState, mark: bytes) -> None:
        self._edge = edge
        self.mark = mark
        """What requests to this tunnel carry in CDN-Loop."""
        self._idle: list[Upstream] = []
        self._closed = False
        self.places = Places(edge.bounds.visitors_per_tunnel, edge.crowd.exempt, self._visitors)
        """Of requests in progress, and of connections after an upgrade."""

    def _visitors(self) -> Iterator[Holder]:
        """Who holds a place now."""
        return (visitor for visitor in self._edge.visitors if visitor.pool is self)

    @classmethod
    def of(cls, tunnel: Tunnel, edge: EdgeState) -> Pool:
        """The tunnel's pool, made at its first visit."""
        pool = tunnel.edge_state
        if not isinstance(pool, cls):
            pool = cls(edge, edge.loops.mark(tunnel.address.name))
            tunnel.edge_state = pool
            edge.pools.add(pool)
            tunnel.on_close(pool.close)
        return pool

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, now: float) -> Upstream | None:
        """The stream used last, if it has not idled too long."""
        if not self._idle:
            return None
        upstream = self._idle.pop()
        if now - upstream.idle_since < self._edge.bounds.pool_idle_seconds:
            return upstream
        self._idle.append(upstream)
        self.close_idle()  # all others are older
        return None

    def put(self, upstream: Upstream, now: float) -> None:
        """Keep `upstream` for another request, or close it if there are enough."""
        if self._closed or len(self._idle) >= self._edge.bounds.pool_idle_streams:
            upstream.discard()
            return
        upstream.idle_since = now
        self._idle.append(upstream)

    def remove(self, upstream: Upstream) -> None:
        """Forget a stream that ended while idle."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def expire(self, now: float) -> None:
        """Close what has idled too long; the oldest are first in the list."""
        oldest = now - self._edge.bounds.pool_idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).discard()

    def close_idle(self) -> None:
        """Close all idle streams."""
        idle, self._idle = self._idle, []
        for upstream in idle:
            upstream.discard()

    def close(self) -> None:
        """The tunnel, or the edge, is closing."""
        self._closed = True
        self._edge.pools.discard(self)
        self.close_idle()
