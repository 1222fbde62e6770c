"""Bounds the connections of each visitor, so that no visitor can take all of them."""

from __future__ import annotations

from .sources import ExemptNetworks


class ConnectionLimiter:
    """Counts by IPv4 address, and by /64 for IPv6, over HTTP and TCP ports alike."""

    __slots__ = ("_counts", "_most", "exempt")

    def __init__(self, most: int, exempt: ExemptNetworks | None = None) -> None:
        self._most = most
        self.exempt = ExemptNetworks() if exempt is None else exempt
        self._counts: dict[str, int] = {}  # as long as there are connections, at most

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, host: str) -> str | None:
        """Count a connection from `host`, a numeric address. Returns the source to pass to `leave` at its end; None if the
        limit is reached."""
        source = self.exempt.source_of(host)
        if not source:  # not counted, or without an address (a Unix socket)
            return ""
        count = self._counts.get(source, 0)
        if count >= self._most:
            return None
        self._counts[source] = count + 1
        return source

    def leave(self, source: str) -> None:
        """Count one connection less. The empty source, which is not counted, does nothing."""
        if not source:
            return
        if (left := self._counts[source] - 1) > 0:
            self._counts[source] = left
        else:
            del self._counts[source]
