"""How often a peer may exchange keys anew: as bytes move, and as time goes by. Pure.

An exchange costs 2 ms of a core, and a peer may begin one as soon as the last has ended (RFC 4253 §9): two hundred a second
of one connection doubled everybody's answers. Who moves data may well have a small `RekeyLimit` (ssh_config(5)).
"""

from __future__ import annotations

from ferry import limits


class Rekeys:
    """The budget of one connection. Times are monotonic seconds."""

    __slots__ = ("_left", "_moved", "_then")

    def __init__(self) -> None:
        self._left = float(limits.REKEYS_TOGETHER)
        self._moved = 0
        self._then: float | None = None

    def allows(self, moved: int, now: float) -> bool:
        """Another exchange begins, when `moved` bytes have passed in all, both ways."""
        if self._then is not None:
            earned = (now - self._then) * limits.REKEYS_PER_SECOND + (moved - self._moved) / limits.REKEY_BYTES
            self._left = min(self._left + earned, float(limits.REKEYS_TOGETHER))
        self._moved, self._then = moved, now
        self._left -= 1
        return self._left >= 0
