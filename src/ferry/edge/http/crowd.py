"""How many connections each visitor holds, so that one of them cannot take all there are."""

from __future__ import annotations

from ferry.names import network_of


class Crowd:
    """Counts by IPv4 address, and by /64 for IPv6, which is what one visitor of either kind commonly has.

    Loopback is not counted unless asked for: there it is a reverse proxy that connects, for many people.
    """

    __slots__ = ("_counts", "_loopback", "_most")

    def __init__(self, most: int, *, loopback: bool = False) -> None:
        self._most = most
        self._loopback = loopback
        self._counts: dict[str, int] = {}  # as long as there are connections, at most

    def __len__(self) -> int:
        return len(self._counts)

    def enter(self, host: str) -> str | None:
        """What to `leave` when the connection ends; None if it is one too many. `host` is as `numeric_host` writes it."""
        if not host or host == "unknown":  # as with a Unix socket
            return ""
        if (host == "::1" or host.startswith("127.")) and not self._loopback:
            return ""
        network = network_of(host) if ":" in host else host
        count = self._counts.get(network, 0)
        if count >= self._most:
            return None
        self._counts[network] = count + 1
        return network

    def leave(self, network: str) -> None:
        """One connection less; nothing for the empty text."""
        if not network:
            return
        if (left := self._counts[network] - 1) > 0:
            self._counts[network] = left
        else:
            del self._counts[network]
