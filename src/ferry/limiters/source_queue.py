"""A queue of items grouped by source, which finds the source with most items in O(1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class SourceQueue(Generic[T]):
    """Items in the order in which they were added. Each is in it once."""

    __slots__ = ("_by_size", "_groups", "_most", "_source_of")

    def __init__(self) -> None:
        self._source_of: OrderedDict[T, str] = OrderedDict()
        self._groups: dict[str, OrderedDict[T, None]] = {}
        self._by_size: dict[int, OrderedDict[str, None]] = {}
        """Sources by their number of items; among equals the source that has had this number for longest comes first."""
        self._most = 0

    def __len__(self) -> int:
        return len(self._source_of)

    def __iter__(self) -> Iterator[T]:
        """The items, oldest first."""
        return iter(self._source_of)

    def __contains__(self, thing: object) -> bool:
        return thing in self._source_of

    def add(self, thing: T, source: str) -> None:
        """Add `thing`, which is not in the queue, at its end."""
        self._source_of[thing] = source
        group = self._groups.setdefault(source, OrderedDict())
        group[thing] = None
        self._resized(source, len(group) - 1, len(group))

    def remove(self, thing: T) -> None:
        """Remove `thing`, which is in the queue."""
        source = self._source_of.pop(thing)
        group = self._groups[source]
        del group[thing]
        self._resized(source, len(group) + 1, len(group))
        if not group:
            del self._groups[source]

    def fullest(self) -> tuple[int, T | None]:
        """The number of items of the source with most of them, and its oldest item; (0, None) for an empty queue."""
        if self._most == 0:
            return 0, None
        source = next(iter(self._by_size[self._most]))
        return self._most, next(iter(self._groups[source]))

    def _resized(self, source: str, before: int, now: int) -> None:
        if before:
            bucket = self._by_size[before]
            del bucket[source]
            if not bucket:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, OrderedDict())[source] = None
        if now > self._most or self._most not in self._by_size:
            self._most = now  # sizes change by one: the only source at the top is now one below
