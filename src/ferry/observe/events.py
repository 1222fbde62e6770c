"""Keeps the last events, and hands new ones to subscribers.

Belongs to the event loop: `add` and `subscribe` are called there and need no lock. Frequent events (visits, failed
logins of scanners) are kept apart from the rare ones, so that a busy minute does not push the takeover of an hour ago
out of the ring.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from ferry import limits
from ferry.clock import timestamp
from ferry.errors import FerryError
from ferry.visits import Visit

from .levels import LEVELS, level_name
from .texts import safe_fields

FREQUENT: Final = frozenset(
    {
        *("visit", "handshake.ended", "edge.refused", "channel.failed", "host.opened", "host.closed"),
        *("tunnel.refused", "reach.refused", "request.refused"),
    }
)


class Event(NamedTuple):
    """One report. Texts in `fields` are not escaped yet; show `document()` instead."""

    seq: int
    """Grows by one with each event of this process. 0 for a notice that is made for one subscriber."""
    time: float
    """Seconds since the epoch."""
    level: int
    name: str
    fields: Mapping[str, object] | Visit

    def document(self) -> dict[str, object]:
        """The event as one JSON object, with every text escaped."""
        head = {
            "seq": self.seq,
            "time": timestamp(self.time),
            "level": level_name(self.level),
            "event": self.name,
        }
        return head | safe_fields(self.fields) | head  # first in order, and never overwritten by a field


class TooManySubscribers(FerryError):
    """The limit of subscribers is reached. The message names the fix."""


class Subscription:
    """The events for one subscriber: iterate over it. It keeps `size` events at most; past that it drops the oldest and
    counts it."""

    def __init__(self, size: int) -> None:
        self._waiting: deque[Event] = deque(maxlen=size)
        self._wake = asyncio.Event()
        self._dropped = 0
        self._ended = False

    def put(self, event: Event) -> bool:
        """Queue `event`. False when an older one was dropped for it."""
        full = len(self._waiting) == self._waiting.maxlen
        self._dropped += full
        self._waiting.append(event)
        self._wake.set()
        return not full

    def end(self) -> None:
        """Stop the iteration once the queued events are read."""
        self._ended = True
        self._wake.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._waiting:
                if self._dropped:
                    lost, self._dropped = self._dropped, 0
                    yield Event(0, self._waiting[0].time, logging.WARNING, "events.dropped", {"count": lost})
                    continue  # the queue may have changed while the subscriber handled the notice
                yield self._waiting.popleft()
            if self._ended:
                return
            self._wake.clear()
            await self._wake.wait()


class EventRing:
    """The last `size` frequent and the last `size` rare events, and the subscribers."""

    def __init__(
        self,
        size: int = limits.EVENT_RING,
        *,
        queue: int = limits.EVENT_QUEUE,
        subscribers: int = limits.EVENT_SUBSCRIBERS,
    ) -> None:
        self._rare: deque[Event] = deque(maxlen=size)
        self._frequent: deque[Event] = deque(maxlen=size)
        self._queue = queue
        self._most = subscribers
        self._subscribers: list[Subscription] = []
        self._seq = 0
        self._closed = False
        self._before_reading: Callable[[], None] = lambda: None
        self.dropped = 0
        """Events that slow subscribers lost, in all."""

    def add(self, time: float, level: int, name: str, fields: Mapping[str, object]) -> Event:
        """Record an event and hand it to every subscriber."""
        self._seq += 1
        event = Event(self._seq, time, level, name, fields)
        (self._frequent if name in FREQUENT else self._rare).append(event)
        for subscriber in self._subscribers:
            if not subscriber.put(event):
                self.dropped += 1
        return event

    def add_visits(self, time: float, visits: Iterable[Visit]) -> list[Event]:
        """`add` for visits that were finished at the same time."""
        level = LEVELS["visit"]
        events = [Event(seq, time, level, "visit", visit) for seq, visit in enumerate(visits, self._seq + 1)]
        self._seq += len(events)
        self._frequent.extend(events)
        for subscriber in self._subscribers:
            for event in events:
                if not subscriber.put(event):
                    self.dropped += 1
        return events

    def call_before_reading(self, settle: Callable[[], None]) -> None:
        """Call `settle` before events are read: it adds the visits that the observer has gathered."""
        self._before_reading = settle

    def last(self, count: int | None = None) -> list[Event]:
        """The newest `count` events that are kept (all, by default), oldest first."""
        self._before_reading()
        events = list(heapq.merge(self._rare, self._frequent))
        return events if count is None else events[max(0, len(events) - count) :]

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Subscribe to all events from now on. Raises TooManySubscribers at their limit."""
        if len(self._subscribers) >= self._most:
            raise TooManySubscribers(f"{self._most} readers follow the events already: end one of them")
        subscription = Subscription(self._queue)
        if self._closed:
            subscription.end()
        self._subscribers.append(subscription)
        try:
            yield subscription
        finally:
            self._subscribers.remove(subscription)

    def close(self) -> None:
        """End every subscription, later ones too: the process is stopping. Recording goes on."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.end()
