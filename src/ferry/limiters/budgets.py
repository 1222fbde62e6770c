"""How many of something one source may cause a second, and all sources together.

A budget is one number, the time at which it is whole again (the generic cell rate algorithm of ITU-T I.371): taking
one moves that time on by `1 / rate`, and is refused where it would lie more than a burst ahead. Pure: the caller passes
the time in.
"""

from __future__ import annotations

import math
from collections import OrderedDict


class Budget:
    """`rate` a second, and after a quiet time as many at once as `burst` seconds bring. A rate of 0 gives nothing."""

    __slots__ = ("_ahead", "_step")

    def __init__(self, rate: float, burst: float) -> None:
        self._step = 1.0 / rate if rate > 0 else math.inf
        self._ahead = max(burst, self._step) if rate > 0 else 0.0

    def after(self, whole: float, now: float) -> float | None:
        """When a budget is whole again that was to be so at `whole`, once one is taken; None if there is none left."""
        whole = max(whole, now) + self._step
        return None if whole - now > self._ahead else whole


class Budgets:
    """A budget for each source within one for all. At most `sources` are remembered: past it the one that has
    asked least lately starts anew, and is bounded by the budget for all."""

    __slots__ = ("_all", "_each", "_most", "_whole", "_whole_of")

    def __init__(self, each: Budget, together: Budget, sources: int) -> None:
        self._each = each
        self._all = together
        self._most = sources
        self._whole = -math.inf
        self._whole_of: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._whole_of)

    def use(self, each: Budget, together: Budget) -> None:
        """Other rates from now on; what was taken stays taken."""
        self._each, self._all = each, together

    def take(self, source: str, now: float) -> bool:
        """Take one for `source` at `now` (seconds of a clock that never goes back). False if it has none left, or all
        together have none. An empty `source` stands for nobody: what has none is counted with all others alone."""
        own = self._each.after(self._whole_of.get(source, -math.inf), now) if source else now
        if own is None:
            if source in self._whole_of:
                self._whole_of.move_to_end(source)  # one that asks on and on is not forgotten for it
            return False
        whole = self._all.after(self._whole, now)
        if whole is None:
            return False
        self._whole = whole
        if source:
            self._whole_of[source] = own
            self._whole_of.move_to_end(source)
            if len(self._whole_of) > self._most:
                self._whole_of.popitem(last=False)
        return True
