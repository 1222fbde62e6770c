"""Who keeps a place when there are too few: places go to whoever holds the fewest.

A tunnel has so many places for visitors, and the gateway so many for connections. While there are enough, nothing is
kept but their number. When they run short, each place is looked at: what does its visitor do with it, and when did that
last move? What moves is never displaced. A look compares with the look before: PLACE_MOVES_RATE counts as moving, a
single byte now and then does not. What was not there for PLACE_LOOK_SECONDS is not judged. So nine hundred honest
downloads are never cut one for another: the newcomer is refused.

Of those who do not move, a newcomer gets the place of whoever deserves it least:

* first **at once** of a source that then still holds no less than the newcomer's. The `Standing` decides first, in its
  order, in it the source that holds most, and of its visitors the one that has not moved for the longest;
* only if no standing has such a source, the one that has not moved for `limits.PLACE_PATIENCE_SECONDS`, again in the
  order of standings. Where STALLED_SHARE of all places is held by visitors of one standing who could move and do not,
  that standing has no patience left; the others keep theirs. Whoever holds many takes no place from who holds few.

So the order of standings holds within each of the two, not over both: one upload that pauses does not go by patience
while somebody of a later standing holds dozens. Whoever is `GONE` has no patience, and goes first of all.

**The last eighth** of the places is for those who hold few, and on trial. A source that holds as much as others do on
average does not enter there: it would have to be displaced again for each who holds less. Until it is known who moves,
a busy source of quick requests is told from it by how short it has had its places. Whoever enters, has no answer or
does not read it, and does not move, gives way to a newcomer after TRIAL_SECONDS. When somebody holds all the other
places by requests that are never answered, requests that are answered soon go on through this eighth, also from the
same address.

An exempt address (`limits.exempt`) is a source of its own. It enters the last eighth, and gives a place to another
source only by patience: a proxy that carries everybody is not emptied because it holds most.

A source with N addresses is N sources here. Whoever has as many addresses as there are places, or reads and writes at
PLACE_MOVES_RATE in each, keeps newcomers out; `limits.connections_per_visitor` says how many one address may have.
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
    """What a visitor does with its place, in the order in which places are taken back."""

    GONE = 0
    """It has sent end-of-file before it was answered: it may have left."""
    SILENT = 1
    """Its head or body is due."""
    WAITING = 2
    """It has asked, and is not answered."""
    UNREAD = 3
    """It does not read its answer as fast as the answer comes."""
    STREAM = 4
    """Both sides may be silent: an upgraded connection, a TCP connection, an answer that the service has begun."""


_UNANSWERED = frozenset({Standing.GONE, Standing.SILENT, Standing.WAITING})
_STALLS = frozenset({Standing.SILENT, Standing.UNREAD})
"""It is the visitor who does not move."""


class Holder(Protocol):
    """Whoever has a place. Holders are told apart by identity."""

    @property
    def host(self) -> str:
        """The visitor's numeric address."""
        ...

    @property
    def since(self) -> float:
        """When it came for the place (monotonic seconds)."""
        ...

    def standing(self) -> tuple[Standing, int]:
        """What it does now, and how many bytes it has moved in that, counted from any beginning."""
        ...

    def looked_at(self) -> tuple[float, int] | None:
        """A moment before now (monotonic seconds) and what it had moved by then, if that is known."""
        ...


H = TypeVar("H", bound=Holder)


@dataclass(slots=True, eq=False)
class _Held(Generic[H]):
    """One place in a shortage."""

    holder: H
    source: str
    exempt: bool
    came: float
    standing: Standing
    entered: float
    since: float
    """It has not moved since then, as far as looks can tell. Monotonic seconds, like the next."""
    looked: float
    moved: int
    """What it had moved at that look."""


class Shortage(Generic[H]):
    """Who holds which of `most` places, while places are short. Times are monotonic seconds. A time before one that was
    said earlier counts as that one: time does not go back."""

    def __init__(self, holders: Iterable[H], exempt: ExemptNetworks, most: int, now: float) -> None:
        self._exempt = exempt
        self._most = most
        self._all: OrderedDict[H, _Held[H]] = OrderedDict()
        """The next look begins with the first."""
        self._held: Counter[str] = Counter()
        """How many each source has."""
        self._came: dict[str, float] = {}
        """The sum of when they came,"""
        self._came_all = 0.0
        """and over all sources."""
        self._stuck: Counter[str] = Counter()
        """How many of each source do not move."""
        self._queues: dict[Standing, tuple[SourceQueue[_Held[H]], SourceQueue[_Held[H]]]] = {
            standing: (SourceQueue(), SourceQueue()) for standing in Standing
        }
        """Those who do not move; those of exempt sources are apart, in the second."""
        self._trial: OrderedDict[_Held[H], None] = OrderedDict()
        self._looked = self._now = now
        for held in sorted((self._known(holder, now) for holder in holders), key=lambda one: one.since):
            self._keep(held)
            self._judge(held, now)

    def _at(self, now: float) -> float:
        """The latest time that was said."""
        self._now = max(self._now, now)
        return self._now

    def _known(self, holder: H, now: float) -> _Held[H]:
        """Somebody who was there before."""
        standing, moved = holder.standing()
        looked, moved = holder.looked_at() or (now, moved)
        source, exempt = self._source(holder.host)
        return _Held(holder, source, exempt, holder.since, standing, looked, looked, looked, moved)

    def _source(self, host: str) -> tuple[str, bool]:
        """And whether it is exempt."""
        counted = self._exempt.source_of(host)
        return (counted, False) if counted else (f"exempt {host}", True)

    def add(self, holder: H, standing: Standing, now: float) -> None:
        """A newcomer has a place."""
        now = self._at(now)
        held = _Held(holder, *self._source(holder.host), holder.since, standing, now, now, now, 0)
        self._keep(held)
        if standing in _UNANSWERED:
            self._trial[held] = None
            if len(self._trial) > self._most // limits.TRIAL_SHARE:
                self._trial.popitem(last=False)

    def _keep(self, held: _Held[H]) -> None:
        self._all[held.holder] = held
        self._held[held.source] += 1
        self._came[held.source] = self._came.get(held.source, 0.0) + held.came
        self._came_all += held.came

    def remove(self, holder: H) -> bool:
        """It has left. False if it had already."""
        held = self._all.pop(holder, None)
        if held is None:
            return False
        self._held[held.source] -= 1
        self._came[held.source] -= held.came
        self._came_all -= held.came
        if not self._held[held.source]:
            del self._held[held.source], self._came[held.source]
        self._trial.pop(held, None)
        self._unlist(held)
        return True

    def _list(self, held: _Held[H]) -> None:
        queue = self._queue_of(held)
        if held not in queue:
            queue.add(held, held.source)
            self._stuck[held.source] += 1

    def _unlist(self, held: _Held[H]) -> None:
        queue = self._queue_of(held)
        if held in queue:
            queue.remove(held)
            self._stuck[held.source] -= 1
            if not self._stuck[held.source]:
                del self._stuck[held.source]

    def _queue_of(self, held: _Held[H]) -> SourceQueue[_Held[H]]:
        return self._queues[held.standing][held.exempt]

    def _listed(self) -> int:
        """How many do not move."""
        return sum(len(queue) for both in self._queues.values() for queue in both)

    # --- looking

    def changed(self, holder: H, now: float) -> None:
        """It does something else by now."""
        if (held := self._all.get(holder)) is not None:
            self._judge(held, self._at(now))

    def _look(self, now: float) -> None:
        """At PLACES_LOOKED_AT of them, in turn, unless the last look was just now."""
        if now - self._looked < limits.PLACE_LOOK_SECONDS:
            return
        self._looked = now
        for _ in range(min(len(self._all), limits.PLACES_LOOKED_AT)):
            holder = next(iter(self._all))
            self._all.move_to_end(holder)
            self._judge(self._all[holder], now)

    def _judge(self, held: _Held[H], now: float) -> None:
        """See what it does, and whether it has moved."""
        standing, moved = held.holder.standing()
        if standing is not held.standing:
            self._unlist(held)
            held.standing, held.since, held.looked, held.moved = standing, now, now, moved
        seconds = now - held.looked
        if standing is Standing.GONE:
            self._list(held)
        elif standing is not Standing.WAITING and moved - held.moved >= _least(standing, seconds):
            self._unlist(held)
            held.since = held.looked = now
            held.moved = moved
        elif seconds >= limits.PLACE_LOOK_SECONDS:
            self._list(held)
            held.looked, held.moved = now, moved

    # --- choosing

    def holds_its_share(self, host: str, now: float) -> bool:
        """Whether the source of `host` holds as much as sources do on average, and more than one place."""
        source, exempt = self._source(host)
        if exempt:
            return False
        known = self._known_who_moves()
        whole = self._listed() if known else len(self._all)
        holds = self._holds(source, self._at(now))
        return holds > 1 and holds * len(self._stuck if known else self._held) >= whole

    def _known_who_moves(self) -> bool:
        return self._listed() >= self._most // 4

    def _holds(self, source: str, now: float) -> int:
        """How many places of those who do not move. In the first moments, when that is not known yet: all it has, unless
        they are younger by half than others' are. So a busy source of quick requests is not taken for one that holds
        its share."""
        if self._known_who_moves():
            return self._stuck[source]
        places = self._held[source]
        if not places:
            return 0
        age = _age(places, self._came[source], now)
        return 0 if 2 * age < _age(len(self._all), self._came_all, now) else places

    def stuck(self, host: str) -> int:
        """How many places of the source of `host` do not move."""
        return self._stuck[self._source(host)[0]]

    def least_deserving(self, host: str, now: float) -> H | None:
        """Who has to go for a newcomer from `host`."""
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

    def _choose(self, source: str, now: float) -> _Held[H] | None:
        stuck = self._stuck[source]
        for standing, (counted, _) in self._queues.items():
            _, first = counted.fullest()
            if first is not None and first.source != source and self._stuck[first.source] > stuck + 1:
                return first
            if standing is Standing.GONE and (held := self._out_of_patience(standing, stuck, now)) is not None:
                return held
        for standing in self._queues:
            if (held := self._out_of_patience(standing, stuck, now)) is not None:
                return held
        return self._on_trial(self._holds(source, now), now)

    def _out_of_patience(self, standing: Standing, stuck: int, now: float) -> _Held[H] | None:
        """Of those with that standing whose source has no less than `stuck`, one that has not moved for too long."""
        queues = self._queues[standing]
        crowded = standing in _STALLS and sum(map(len, queues)) >= self._most * limits.STALLED_SHARE
        patience = 0.0 if crowded else limits.PLACE_PATIENCE_SECONDS[standing]
        for queue in queues:
            fullest = queue.fullest()[1]
            if fullest is None:
                continue
            # Whoever has been there for longest may be of a source that holds few: others go all the same.
            for held in chain((fullest,), islice(queue, limits.PLACES_CHECKED)):
                if now - held.since >= patience and self._stuck[held.source] >= stuck:
                    return held
        return None

    def _on_trial(self, holds: int, now: float) -> _Held[H] | None:
        """The oldest of the last eighth who has no answer, or does not read it, and does not move."""
        for held in tuple(islice(self._trial, limits.PLACES_CHECKED)):
            if now - held.entered < limits.TRIAL_SECONDS:
                return None
            standing, moved = held.holder.standing()
            if standing is not held.standing:
                self._judge(held, now)  # it has moved just now
            elif standing in _STALLS and moved - held.moved >= _least(standing, now - held.looked):
                del self._trial[held]
            elif standing is Standing.STREAM:  # whether it reads all of its answer is not to be seen yet
                self._trial.move_to_end(held)
                held.entered = now
            elif standing in _STALLS and now - held.looked < limits.TRIAL_SECONDS:
                continue  # looked at just now: whether it moves is not to be seen yet
            elif self._holds(held.source, now) >= holds:
                return held
        return None


def _age(places: int, came: float, now: float) -> float:
    """For how many seconds that many have been held, on average; `came` is the sum of when they came."""
    return limits.TRIAL_SECONDS + now - came / places


def _least(standing: Standing, seconds: float) -> float:
    """The bytes that count as moving in that time. Looks may be far apart, and who has begun to move since then moves."""
    return (
        max(1.0, limits.PLACE_MOVES_RATE * min(seconds, 2 * limits.PLACE_LOOK_SECONDS)) if standing in _STALLS else 1.0
    )
