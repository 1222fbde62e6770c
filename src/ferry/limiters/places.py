"""The places of one tunnel for visitors. While there are enough they are only counted; then the rules of `shortage` hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ferry import limits

from .shortage import Holder, Shortage, Standing
from .sources import ExemptNetworks


class PlaceHolder(Holder, Protocol):
    """The visitor that holds a place of a tunnel."""

    def displace(self) -> None:
        """End this visitor and leave its place, which goes to another one."""
        ...


class Places:
    """`most` places. Each `enter` that returns True must be followed by `leave`. Times are monotonic seconds.

    `holders` lists the current holders. It is called when a shortage begins. The next shortage cannot begin before half
    of the places have been given again, so that this is O(1) amortised.
    """

    __slots__ = ("_exempt", "_holders", "_short_from", "_shortage", "in_use", "most")

    def __init__(self, most: int, exempt: ExemptNetworks, holders: Callable[[], Iterable[PlaceHolder]]) -> None:
        self.most = most
        self.in_use = 0
        """The number of visitors that have a place."""
        self._exempt = exempt
        self._holders = holders
        self._short_from = most - most // limits.TRIAL_SHARE
        self._shortage: Shortage[PlaceHolder] | None = None

    def enter(self, holder: PlaceHolder, standing: Standing, now: float) -> bool:
        """Give `holder` a place, with `standing` as its first standing. False if none is free and no holder can be displaced.
        `now` is the current time, also for a holder that began earlier: its trial and its patience begin now."""
        shortage = self._shortage
        if shortage is None:
            if self.in_use < self._short_from:
                self.in_use += 1
                return True
            shortage = self._shortage = Shortage(self._holders(), self._exempt, self.most, now)
        if self.in_use >= self.most:
            deserves_least = shortage.least_deserving(holder.host, now)
            if deserves_least is None:
                return False
            deserves_least.displace()
            if self.in_use >= self.most:
                return False
            self._shortage = shortage  # with few places, the displaced holder's `leave` has ended the shortage
        elif self.in_use >= self._short_from and shortage.holds_its_share(holder.host, now):
            return False
        self.in_use += 1
        shortage.add(holder, standing, now)
        return True

    def ended(self, holder: PlaceHolder, now: float) -> None:
        """`holder` has sent end-of-file."""
        if self._shortage is not None:
            self._shortage.changed(holder, now)

    def leave(self, holder: PlaceHolder) -> None:
        """Free the place of `holder`."""
        self.in_use -= 1
        if self._shortage is not None:
            self._shortage.remove(holder)
            if self.in_use <= self.most // 2:
                self._shortage = None
