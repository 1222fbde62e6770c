"""Decides which visitors keep their places when there are too few. Places go to the sources that hold the fewest.

A tunnel has a number of places for visitors, and the gateway has one for connections. While there are enough, they are
only counted. When they run short, each place is tracked: what does its visitor do with it, and when did that last move?
A visitor that moves is never displaced. A check compares with the check before: PLACE_MOVES_RATE counts as moving, a
single byte now and then does not. A visitor that came less than PLACE_LOOK_SECONDS ago is not judged. So nine hundred
honest downloads never displace one another: the newcomer is refused.

Of the visitors that do not move, a newcomer displaces the least deserving one:

* first, **at once**, a visitor of a source that then still holds no less than the newcomer's. The order of `Standing`
  comes first; within a standing, the source that holds most, and its visitor that has not moved for longest;
* only if no standing has such a source, a visitor that has not moved for `limits.PLACE_PATIENCE_SECONDS`, again in the
  order of standings. Once visitors of one standing hold STALLED_SHARE of all places and stall by their own doing, that
  standing has no patience left; the others keep theirs. A source that holds more takes no place from one that holds less.

So the order of standings holds within each of the two rules, not over both: patience does not displace a paused upload
while a source with a later standing holds dozens. A visitor that is `GONE` has no patience, and is displaced first.

**The last eighth** of the places is for sources that hold few, and on trial. A source that holds its average share does
not enter there: each source that holds less would displace it again. Until it is known which visitors move, a busy
source of quick requests is recognised by the young age of its places. A visitor in this eighth that has no answer or does
not read it, and does not move, gives way to a newcomer after TRIAL_SECONDS. If a source holds all other places with
requests that are never answered, requests that are answered soon still pass through this eighth, also from its address.

An exempt address (`limits.exempt`) is a source of its own. It enters the last eighth, and loses a place to another source
only by patience: a proxy that carries everybody does not lose its places because it holds most.

An attacker with N addresses is N sources. With as many addresses as there are places, or with PLACE_MOVES_RATE in each
place, it keeps newcomers out; `limits.connections_per_visitor` bounds the connections of one address.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar

from ferry import limits

from .source_queue import SourceQueue
from .sources import ExemptNetworks


class Standing(enum.IntEnum):
    """A visitor's use of its place. Visitors lose their places in this order."""

    GONE = 0
    """It has sent end-of-file before its answer: it may have left."""
    SILENT = 1
    """Its head or body is due."""
    WAITING = 2
    """It waits for the answer to its request."""
    UNREAD = 3
    """It reads its answer more slowly than the answer arrives."""
    STREAM = 4
    """Both sides may be silent: an upgraded connection, a TCP connection, an answer that the service has begun."""


_UNANSWERED = frozenset({Standing.GONE, Standing.SILENT, Standing.WAITING})
_STALLS = frozenset({Standing.SILENT, Standing.UNREAD})
"""In these standings the visitor itself stalls."""


class Holder(Protocol):
    """The visitor in a place. Holders are compared by identity."""

    @property
    def host(self) -> str:
        """The visitor's numeric address."""
        ...

    @property
    def since(self) -> float:
        """When it asked for the place (monotonic seconds)."""
        ...

    def standing(self) -> tuple[Standing, int]:
        """Its standing, and the bytes that it has moved in this standing, counted from any start."""
        ...

    def last_check(self) -> tuple[float, int] | None:
        """An earlier time (monotonic seconds) and the bytes that it had moved by then, if that is known."""
        ...


H = TypeVar("H", bound=Holder)


@dataclass(slots=True, eq=False)
class _Place(Generic[H]):
    """One place in a shortage."""

    holder: H
    source: str
    exempt: bool
    came: float
    standing: Standing
    entered: float
    since: float
    """When it last moved, as far as checks can tell. Monotonic seconds, like `looked`."""
    looked: float
    moved: int
    """The bytes that it had moved at the check at `looked`."""


class Shortage(Generic[H]):
    """The holders of `most` places, while places are short. Times are monotonic seconds. A time before that of an earlier
    call counts as the earlier one's: time does not go back."""

    def __init__(self, holders: Iterable[H], exempt: ExemptNetworks, most: int, now: float) -> None:
        self._exempt = exempt
        self._most = most
        self._all: OrderedDict[H, _Place[H]] = OrderedDict()
        """All holders. The next check begins with the first."""
        self._places: Counter[str] = Counter()
        """The number of places of each source."""
        self._came: dict[str, float] = {}
        """The sum of the arrival times of each source's holders,"""
        self._came_all = 0.0
        """and of all holders."""
        self._stuck: Counter[str] = Counter()
        """The number of each source's holders that do not move."""
        self._queues: dict[Standing, tuple[SourceQueue[_Place[H]], SourceQueue[_Place[H]]]] = {
            standing: (SourceQueue(), SourceQueue()) for standing in Standing
        }
        """The holders that do not move, by standing: those of counted sources, and those of exempt ones."""
        self._trial: OrderedDict[_Place[H], None] = OrderedDict()
        self._looked = self._now = now
        for place in sorted((self._known(holder, now) for holder in holders), key=lambda one: one.since):
            self._keep(place)
            self._judge(place, now)

    def _at(self, now: float) -> float:
        """`now`, or the time of an earlier call if that is later."""
        self._now = max(self._now, now)
        return self._now

    def _known(self, holder: H, now: float) -> _Place[H]:
        """The record of a holder that came before the shortage."""
        standing, moved = holder.standing()
        looked, moved = holder.last_check() or (now, moved)
        source, exempt = self._source(holder.host)
        return _Place(holder, source, exempt, holder.since, standing, looked, looked, looked, moved)

    def _source(self, host: str) -> tuple[str, bool]:
        """The source of `host`, and whether it is exempt."""
        counted = self._exempt.source_of(host)
        return (counted, False) if counted else (f"exempt {host}", True)

    def add(self, holder: H, standing: Standing, now: float) -> None:
        """Record that a newcomer has a place."""
        now = self._at(now)
        place = _Place(holder, *self._source(holder.host), holder.since, standing, now, now, now, 0)
        self._keep(place)
        if standing in _UNANSWERED:
            self._trial[place] = None
            if len(self._trial) > self._most // limits.TRIAL_SHARE:
                self._trial.popitem(last=False)

    def _keep(self, place: _Place[H]) -> None:
        self._all[place.holder] = place
        self._places[place.source] += 1
        self._came[place.source] = self._came.get(place.source, 0.0) + place.came
        self._came_all += place.came

    def remove(self, holder: H) -> bool:
        """Record that a holder has left. False if it had left before."""
        place = self._all.pop(holder, None)
        if place is None:
            return False
        self._places[place.source] -= 1
        self._came[place.source] -= place.came
        self._came_all -= place.came
        if not self._places[place.source]:
            del self._places[place.source], self._came[place.source]
        self._trial.pop(place, None)
        self._unlist(place)
        return True

    def _list(self, place: _Place[H]) -> None:
        queue = self._queue_of(place)
        if place not in queue:
            queue.add(place, place.source)
            self._stuck[place.source] += 1

    def _unlist(self, place: _Place[H]) -> None:
        queue = self._queue_of(place)
        if place in queue:
            queue.remove(place)
            self._stuck[place.source] -= 1
            if not self._stuck[place.source]:
                del self._stuck[place.source]

    def _queue_of(self, place: _Place[H]) -> SourceQueue[_Place[H]]:
        return self._queues[place.standing][place.exempt]

    def _listed(self) -> int:
        """The number of holders that do not move."""
        return sum(len(queue) for both in self._queues.values() for queue in both)

    # --- looking

    def changed(self, holder: H, now: float) -> None:
        """Record that the standing of `holder` may have changed."""
        if (place := self._all.get(holder)) is not None:
            self._judge(place, self._at(now))

    def _look(self, now: float) -> None:
        """Check PLACES_LOOKED_AT of the holders, in turn, unless the last check was less than PLACE_LOOK_SECONDS ago."""
        if now - self._looked < limits.PLACE_LOOK_SECONDS:
            return
        self._looked = now
        for _ in range(min(len(self._all), limits.PLACES_LOOKED_AT)):
            holder = next(iter(self._all))
            self._all.move_to_end(holder)
            self._judge(self._all[holder], now)

    def _judge(self, place: _Place[H], now: float) -> None:
        """Update a holder's standing, and whether it has moved."""
        standing, moved = place.holder.standing()
        if standing is not place.standing:
            self._unlist(place)
            place.standing, place.since, place.looked, place.moved = standing, now, now, moved
        seconds = now - place.looked
        if standing is Standing.GONE:
            self._list(place)
        elif standing is not Standing.WAITING and moved - place.moved >= _least(standing, seconds):
            self._unlist(place)
            place.since = place.looked = now
            place.moved = moved
        elif seconds >= limits.PLACE_LOOK_SECONDS:
            self._list(place)
            place.looked, place.moved = now, moved

    # --- choosing

    def holds_its_share(self, host: str, now: float) -> bool:
        """Whether the source of `host` holds at least the average of all sources, and more than one place."""
        source, exempt = self._source(host)
        if exempt:
            return False
        known = self._known_who_moves()
        whole = self._listed() if known else len(self._all)
        holds = self._holds(source, self._at(now))
        return holds > 1 and holds * len(self._stuck if known else self._places) >= whole

    def _known_who_moves(self) -> bool:
        return self._listed() >= self._most // 4

    def _holds(self, source: str, now: float) -> int:
        """The number of its holders that do not move. Before that is known, it is the number of all its places; or 0 if
        they are less than half as old as the average, so that a busy source of quick requests does not count as one that
        holds its share."""
        if self._known_who_moves():
            return self._stuck[source]
        places = self._places[source]
        if not places:
            return 0
        age = _age(places, self._came[source], now)
        return 0 if 2 * age < _age(len(self._all), self._came_all, now) else places

    def stuck(self, host: str) -> int:
        """The number of holders of the source of `host` that do not move."""
        return self._stuck[self._source(host)[0]]

    def least_deserving(self, host: str, now: float) -> H | None:
        """The holder to displace for a newcomer from `host`."""
        now = self._at(now)
        self._look(now)
        source, _ = self._source(host)
        for _ in range(limits.PLACES_CHECKED):
            found = self._choose(source, now)
            if found is None:
                break
            standing, listed = found.standing, found in self._queue_of(found)
            self._judge(found, now)  # it may have moved since the last look
            if found.standing is standing and listed == (found in self._queue_of(found)):
                return found.holder
        return None

    def _choose(self, source: str, now: float) -> _Place[H] | None:
        stuck = self._stuck[source]
        for standing, (counted, _) in self._queues.items():
            _, first = counted.fullest()
            if first is not None and first.source != source and self._stuck[first.source] > stuck + 1:
                return first
            if standing is Standing.GONE and (place := self._out_of_patience(standing, stuck, now)) is not None:
                return place
        for standing in self._queues:
            if (place := self._out_of_patience(standing, stuck, now)) is not None:
                return place
        return self._on_trial(self._holds(source, now), now)

    def _out_of_patience(self, standing: Standing, stuck: int, now: float) -> _Place[H] | None:
        """A holder with this standing that has not moved for too long, and whose source has no fewer than `stuck`."""
        queues = self._queues[standing]
        crowded = standing in _STALLS and sum(map(len, queues)) >= self._most * limits.STALLED_SHARE
        patience = 0.0 if crowded else limits.PLACE_PATIENCE_SECONDS[standing]
        for queue in queues:
            fullest = queue.fullest()[1]
            if fullest is None:
                continue
            # The oldest one may belong to a source that holds few: then another one is displaced.
            for place in chain((fullest,), islice(queue, limits.PLACES_CHECKED)):
                if now - place.since >= patience and self._stuck[place.source] >= stuck:
                    return place
        return None

    def _on_trial(self, holds: int, now: float) -> _Place[H] | None:
        """The oldest holder of the last eighth that has no answer or does not read it, and does not move."""
        for place in tuple(islice(self._trial, limits.PLACES_CHECKED)):
            if now - place.entered < limits.TRIAL_SECONDS:
                return None
            standing, moved = place.holder.standing()
            if standing is not place.standing:
                self._judge(place, now)  # it has moved just now
            elif standing in _STALLS and moved - place.moved >= _least(standing, now - place.looked):
                del self._trial[place]
            elif standing is Standing.STREAM:  # whether it reads all of its answer is not to be seen yet
                self._trial.move_to_end(place)
                place.entered = now
            elif standing in _STALLS and now - place.looked < limits.TRIAL_SECONDS:
                continue  # looked at just now: whether it moves is not to be seen yet
            elif self._holds(place.source, now) >= holds:
                return place
        return None


def _age(places: int, came: float, now: float) -> float:
    """The average age of `places` places in seconds; `came` is the sum of their arrival times."""
    return limits.TRIAL_SECONDS + now - came / places


def _least(standing: Standing, seconds: float) -> float:
    """The bytes that count as moving in `seconds`. Checks may be far apart: a visitor that began to move since counts too."""
    return (
        max(1.0, limits.PLACE_MOVES_RATE * min(seconds, 2 * limits.PLACE_LOOK_SECONDS)) if standing in _STALLS else 1.0
    )
