"""The places of one tunnel: a number while there are enough, and `shortage`'s rules while there are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ferry import limits

from .shortage import Holder, Shortage, Standing
from .sources import ExemptNetworks


class PlaceHolder(Holder, Protocol):
    """Whoever has a place of a tunnel."""

    def displace(self) -> None:
        """Its place goes to another visitor: end it, and leave the place."""
        ...


class Places:
    """`most` places. Each `enter` that says True ends with `leave`. Times are monotonic seconds.

    `holders` lists those who hold a place now; it is asked when a shortage begins, which cannot be again before half of
    the places have been given anew: O(1) amortised.
    """

    __slots__ = ("_exempt", "_holders", "_short_from", "_shortage", "most", "taken")

    def __init__(self, most: int, exempt: ExemptNetworks, holders: Callable[[], Iterable[PlaceHolder]]) -> None:
        self.most = most
        self.taken = 0
        self._exempt = exempt
        self._holders = holders
        self._short_from = most - most // limits.TRIAL_SHARE
        self._shortage: Shortage[PlaceHolder] | None = None

    @property
    def short(self) -> bool:
        """Whether it is known who holds which place."""
        return self._shortage is not None

    def enter(self, holder: PlaceHolder, standing: Standing, now: float) -> bool:
        """Give `holder`, which will be in `standing`, a place; False if nobody has to go for it. `now` is this moment,
        also for a holder that began earlier: its trial and its patience begin with it."""
        shortage = self._shortage
        if shortage is None:
            if self.taken < self._short_from:
                self.taken += 1
                return True
            shortage = self._shortage = Shortage(self._holders(), self._exempt, self.most, now)
        if self.taken >= self.most:
            deserves_least = shortage.least_deserving(holder.host, now)
            if deserves_least is None:
                return False
            deserves_least.displace()
            if self.taken >= self.most:
                return False
            self._shortage = shortage  # of two places half are free as soon as somebody has gone
        elif self.taken >= self._short_from and shortage.holds_its_share(holder.host, now):
            return False
        self.taken += 1
        shortage.add(holder, standing, now)
        return True

    def ended(self, holder: PlaceHolder, now: float) -> None:
        """`holder` has sent end-of-file."""
        if self._shortage is not None:
            self._shortage.changed(holder, now)

    def leave(self, holder: PlaceHolder) -> None:
        """The place is free."""
        self.taken -= 1
        if self._shortage is not None:
            self._shortage.remove(holder)
            if self.taken <= self.most // 2:
                self._shortage = None
