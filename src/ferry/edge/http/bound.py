"""The stream that belongs to one visitor.

NTLM and Negotiate log a connection in, not a request (RFC 4559 §6). So a stream that has carried such a log-in carries
the requests of this visitor only, and no other visitor's.
"""

from __future__ import annotations

from ferry.registry.routes import Tunnel

from .upstream import Upstream


class BoundStream:
    """An exchange makes it with the first such log-in, and keeps it from then on."""

    __slots__ = ("_upstream",)

    def __init__(self) -> None:
        self._upstream: Upstream | None = None

    def take(self, tunnel: Tunnel, *, upgrade: bool) -> Upstream | None:
        """The stream for the visitor's next request, if it leads to `tunnel` and is alive. Otherwise it closes: also for
        an upgrade, which needs a stream with the visitor's address as its originator."""
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return None
        if upstream.alive and upstream.tunnel is tunnel and not upgrade:
            return upstream
        upstream.discard()
        return None

    def keep(self, upstream: Upstream) -> None:
        """The stream has carried a request, and waits for the visitor's next one."""
        self._upstream = upstream

    def close(self) -> None:
        """The visitor is gone."""
        if self._upstream is not None:
            self._upstream.discard()
            self._upstream = None
