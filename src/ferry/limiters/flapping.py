"""Stops two live connections of one identity from taking a name from each other for ever (two autossh on two laptops).

Only takeovers from a live connection count. Past the limit the holder stays, and the identity's claims of that address
wait.
"""

from __future__ import annotations

from ferry.limits import FLAP_SECONDS, FLAP_TAKEOVERS
from ferry.names import Address

FLAP_ADDRESSES = 10_000  # addresses watched at once; the oldest is forgotten


class FlapGuard:
    """Counts live takeovers per address. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._takeovers: dict[Address, list[float]] = {}

    def counted(self, address: Address, now: float) -> None:
        """Count a takeover from a live connection at `now`."""
        times = self._takeovers.pop(address, [])
        recent = [t for t in times if now - t < FLAP_SECONDS]
        self._takeovers[address] = [*recent[-FLAP_TAKEOVERS:], now]
        if len(self._takeovers) > FLAP_ADDRESSES:
            del self._takeovers[next(iter(self._takeovers))]

    def wait(self, address: Address, now: float) -> float:
        """Seconds for which a new claim of `address` must wait; 0 if it may go ahead."""
        times = [t for t in self._takeovers.get(address, ()) if now - t < FLAP_SECONDS]
        if len(times) < FLAP_TAKEOVERS:
            return 0.0
        return times[-1] - now + FLAP_SECONDS
