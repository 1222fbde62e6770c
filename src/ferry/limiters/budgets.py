"""Budgets: how much one source may cause per second, and all sources together.

A budget is one number, the time at which it is full again (the generic cell rate algorithm of ITU-T I.371). Each unit
taken moves that time on by `1 / rate`, and is refused if the time would lie more than a burst ahead. Pure: the caller
passes the time in.
"""

from __future__ import annotations

import math
from collections import OrderedDict


class Budget:
    """`rate` units a second. After a pause, as many at once as accumulate in `burst` seconds. A rate of 0 gives none."""

    __slots__ = ("_ahead", "_step")

    def __init__(self, rate: float, burst: float) -> None:
        self._step = 1.0 / rate if rate > 0 else math.inf
        self._ahead = max(burst, self._step) if rate > 0 else 0.0

    def after(self, whole: float, now: float) -> float | None:
        """Take one unit of a budget that is full at `whole`. Returns when it will be full; None if no unit is left."""
        whole = max(whole, now) + self._step
        return None if whole - now > self._ahead else whole


class Budgets:
    """A budget for each source, and one for all together. It remembers `sources` at most. Past that it forgets the source
    that was quiet longest, which then starts anew within the budget for all."""

    __slots__ = ("_all", "_each", "_most", "_whole", "_whole_of")

    def __init__(self, each: Budget, together: Budget, sources: int) -> None:
        self._each = each
        self._all = together
        self._most = sources
        self._whole = -math.inf
        self._whole_of: OrderedDict[str, float] = OrderedDict()

    def use(self, each: Budget, together: Budget) -> None:
        """Use other rates from now on. Units already taken still count."""
        self._each, self._all = each, together

    def take(self, source: str, now: float) -> bool:
        """Take one unit for `source` at `now` (monotonic seconds). False if its budget or the budget for all is used up.
        With an empty `source` only the budget for all counts."""
        own = self._each.after(self._whole_of.get(source, -math.inf), now) if source else now
        if own is None:
            if source in self._whole_of:
                self._whole_of.move_to_end(source)  # a source over its budget is not forgotten while it goes on
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
