"""Idle streams of one tunnel. The one used last is taken first, so that the others grow old and are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ferry.registry.routes import Tunnel

from .state import EdgeState

if TYPE_CHECKING:
    from .exchange import Exchange
    from .upstream import Upstream


class Pool:
    """Kept in `tunnel.edge_state`; emptied when the tunnel closes."""

    __slots__ = ("_closed", "_edge", "_idle", "half_closed", "mark", "visits", "waiting")

    def __init__(self, edge: EdgeState, mark: bytes) -> None:
        self._edge = edge
        self.mark = mark
        """What requests to this tunnel carry in CDN-Loop."""
        self._idle: list[Upstream] = []
        self._closed = False
        self.visits = 0
        """Requests in progress, and connections after an upgrade."""
        self.waiting = 0
        """Those of them that were sent whole and have no answer yet."""
        self.half_closed: dict[Exchange, None] = {}
        """Those of the waiting whose visitor has sent end-of-file, the oldest first: they make room for others."""

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
