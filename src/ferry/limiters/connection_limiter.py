"""How many connections each visitor holds, so that one of them cannot take all there are."""

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
        """What to `leave` when the connection ends; None if it is one too many. `host` is the peer's numeric address."""
        source = self.exempt.source_of(host)
        if not source:  # not counted, or without an address (a Unix socket)
            return ""
        count = self._counts.get(source, 0)
        if count >= self._most:
            return None
        self._counts[source] = count + 1
        return source

    def leave(self, source: str) -> None:
        """One connection less; nothing for the empty text."""
        if not source:
            return
        if (left := self._counts[source] - 1) > 0:
            self._counts[source] = left
        else:
            del self._counts[source]
