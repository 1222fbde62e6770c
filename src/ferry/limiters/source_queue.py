"""Things in the order in which they came, grouped by source: finds the source with the most of them in O(1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Line(Generic[T]):
    """Each thing is in it once."""

    __slots__ = ("_by_size", "_groups", "_most", "_source_of")

    def __init__(self) -> None:
        self._source_of: OrderedDict[T, str] = OrderedDict()
        self._groups: dict[str, OrderedDict[T, None]] = {}
        self._by_size: dict[int, OrderedDict[str, None]] = {}
        """Sources by how many they have; in each, the one that has had so many for the longest comes first."""
        self._most = 0

    def __len__(self) -> int:
        return len(self._source_of)

    def __iter__(self) -> Iterator[T]:
        """Those who have been in it for the longest come first."""
        return iter(self._source_of)

    def __contains__(self, thing: object) -> bool:
        return thing in self._source_of

    def add(self, thing: T, source: str) -> None:
        """Put `thing`, which is not in it, at the end."""
        self._source_of[thing] = source
        group = self._groups.setdefault(source, OrderedDict())
        group[thing] = None
        self._resized(source, len(group) - 1, len(group))

    def remove(self, thing: T) -> None:
        """Take `thing`, which is in it, out."""
        source = self._source_of.pop(thing)
        group = self._groups[source]
        del group[thing]
        self._resized(source, len(group) + 1, len(group))
        if not group:
            del self._groups[source]

    def fullest(self) -> tuple[int, T | None]:
        """How many the fullest source has, and the oldest of them; (0, None) when there is none."""
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
            self._most = now  # the sizes change by one: what was alone at the top is next to it now
