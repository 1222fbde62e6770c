"""A tunnel as the edge sees it: the places of its visitors, and its idle streams.

The stream used last is taken first, so that the others grow old and are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ferry.limiters.places import PlaceHolder, Places
from ferry.names import Kind
from ferry.registry.routes import Routes, Tunnel

from .shared import Shared
from .upstream import Upstream


class Backend:
    """Made at the tunnel's first visit, closed when its route goes.

    `visitors` lists who holds one of its places now; it is asked when they run short.
    """

    __slots__ = ("_closed", "_idle", "_shared", "mark", "places", "tunnel")

    def __init__(self, shared: Shared, tunnel: Tunnel, visitors: Callable[[Backend], Iterable[PlaceHolder]]) -> None:
        self.tunnel = tunnel
        self.mark = shared.loops.mark(tunnel.address.name)
        """What requests to this tunnel carry in CDN-Loop."""
        self.places = Places(shared.bounds.visitors_per_tunnel, shared.limiter.exempt, lambda: visitors(self))
        """Of requests in progress, and of connections after an upgrade."""
        self._shared = shared
        self._idle: list[Upstream] = []
        self._closed = False

    @property
    def idle_streams(self) -> int:
        """How many rest."""
        return len(self._idle)

    @property
    def crowded(self) -> bool:
        """More than half of its places are taken."""
        return self.places.taken > self.places.most // 2

    def take(self, now: float) -> Upstream | None:
        """The stream used last, if it has not idled too long."""
        if not self._idle:
            return None
        upstream = self._idle.pop()
        if now - upstream.idle_since < self._shared.bounds.pool_idle_seconds:
            return upstream
        self._idle.append(upstream)
        self.close_idle()  # all others are older
        return None

    def new_stream(self) -> Upstream:
        """One that is dialled when it is written to."""
        return Upstream(self._shared, self.tunnel, self._lost)

    def keep(self, upstream: Upstream, now: float) -> None:
        """For another request; or close it, if there are enough."""
        if self._closed or len(self._idle) >= self._shared.bounds.pool_idle_streams:
            upstream.discard()
            return
        upstream.idle_since = now
        self._idle.append(upstream)

    def _lost(self, upstream: Upstream) -> None:
        """It has ended while nobody used it."""
        if upstream in self._idle:
            self._idle.remove(upstream)

    def expire(self, now: float) -> None:
        """Close what has idled too long; the oldest are first in the list."""
        oldest = now - self._shared.bounds.pool_idle_seconds
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.pop(0).discard()

    def close_idle(self) -> None:
        """Close all idle streams."""
        idle, self._idle = self._idle, []
        for upstream in idle:
            upstream.discard()

    def close(self) -> None:
        """The tunnel takes no more visitors, or the edge is stopping: streams that are in use are closed after it."""
        self._closed = True
        self.close_idle()


class Backends(dict[str, Backend]):
    """Of one edge, by host: of those tunnels that were visited. `visitors` is as in `Backend`."""

    def __init__(self, shared: Shared, routes: Routes, visitors: Callable[[Backend], Iterable[PlaceHolder]]) -> None:
        super().__init__()
        self._shared = shared
        self._tunnels = routes.hosts[Kind.HTTP]
        self._visitors = visitors
        routes.on_gone.append(self._gone)

    def find(self, host: str) -> Backend | None:
        """Who serves `host`; made at the first visit."""
        backend = self.get(host)
        if backend is None and (tunnel := self._tunnels.get(host)) is not None:
            backend = self[host] = Backend(self._shared, tunnel, self._visitors)
        return backend

    def _gone(self, tunnel: Tunnel) -> None:
        """Another tunnel, or none, answers at its address from now on."""
        backend = self.get(tunnel.address.name)
        if backend is not None and backend.tunnel is tunnel:
            del self[tunnel.address.name]
            backend.close()
