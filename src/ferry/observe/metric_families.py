"""Counters that cost one dict operation, for the hot path.

prometheus_client's own counters take a lock and a float box per increment (0.7 µs each; a visit makes three). These
are written by the event loop alone and read by the scrape, which runs in the same loop. They need no module of
prometheus_client, which takes 2 MB with its HTTP server: `exposition` loads it at the first scrape.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import ClassVar, Literal

LabelValues = tuple[str, ...]
Sort = Literal["counter", "gauge", "histogram"]


class Family(ABC):
    """Samples of one name, and what Prometheus is told about them."""

    sort: ClassVar[Sort]

    def __init__(self, families: Families, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        families.all.append(self)

    @abstractmethod
    def samples(self) -> Iterable[tuple[LabelValues, float]]:
        """The values now, each with the values of the labels."""


class Families:
    """All families of one worker, in the order of the page."""

    def __init__(self) -> None:
        self.all: list[Family] = []
        self.before: Callable[[], None] = lambda: None
        """Called at the start of each scrape, so that gathered visits are counted first."""


class _EventFamily(Family):
    """A family of one sample per label values. Those in `preset` exist from the start, as 0.

    A series that appears with its first event has no 0 before it, and `rate()` would miss that event.
    """

    def __init__(
        self,
        families: Families,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        preset: Iterable[LabelValues] = (),
    ) -> None:
        super().__init__(families, name, text, labels)
        self.values: dict[LabelValues, float] = dict.fromkeys(preset if labels else [()], 0)

    def samples(self) -> Iterable[tuple[LabelValues, float]]:
        return self.values.items()


class EventCounter(_EventFamily):
    """A counter family."""

    sort = "counter"

    def add(self, *labels: str, count: float = 1) -> None:
        """Count `count` more under these label values."""
        self.values[labels] = self.values.get(labels, 0) + count


class EventGauge(_EventFamily):
    """A gauge family that goes up and down, never below 0."""

    sort = "gauge"

    def move(self, *labels: str, by: float) -> None:
        """Change the value by `by`. A report of an end whose beginning was never reported leaves 0."""
        self.values[labels] = max(0, self.values.get(labels, 0) + by)

    def set(self, value: float) -> None:
        """For a gauge without labels."""
        self.values[()] = value


class EventHistogram(Family):
    """A histogram without labels. Its samples are its buckets: the label of each is its upper end."""

    sort = "histogram"

    def __init__(self, families: Families, name: str, text: str, ends: Sequence[float]) -> None:
        """`ends` are the upper ends of the buckets in rising order, without the last one, which is infinite."""
        super().__init__(families, name, text, ("le",))
        self._ends = (*map(float, ends), math.inf)
        self._counts = [0] * len(self._ends)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._ends, value)] += 1
        self.sum += value

    def samples(self) -> Iterable[tuple[LabelValues, float]]:
        """Each bucket has the number of all values up to its end."""
        ends = ("+Inf" if end == math.inf else str(end) for end in self._ends)
        return (((end,), count) for end, count in zip(ends, accumulate(self._counts), strict=True))


class _PolledFamily(Family):
    """A family of one sample without labels. Its value is kept elsewhere, and polled at each scrape."""

    def __init__(self, families: Families, name: str, text: str) -> None:
        super().__init__(families, name, text)
        self._ask: Callable[[], float] = lambda: 0

    def poll(self, ask: Callable[[], float]) -> None:
        """`ask` returns the value."""
        self._ask = ask

    def samples(self) -> Iterable[tuple[LabelValues, float]]:
        return [((), self._ask())]


class PolledCounter(_PolledFamily):
    """A counter family."""

    sort = "counter"


class PolledGauge(_PolledFamily):
    """A gauge family."""

    sort = "gauge"


class PolledGauges(Family):
    """A gauge family with one label. Its values are kept elsewhere, and polled at each scrape."""

    sort = "gauge"

    def __init__(self, families: Families, name: str, text: str, label: str, values: Iterable[str]) -> None:
        """`values` of the label have 0 until `poll` is called for them."""
        super().__init__(families, name, text, (label,))
        self._asked: dict[str, Callable[[], float]] = dict.fromkeys(values, int)

    def poll(self, value: str, ask: Callable[[], float]) -> None:
        """`ask` returns the number for `value` of the label."""
        self._asked[value] = ask

    def samples(self) -> Iterable[tuple[LabelValues, float]]:
        return [((value,), ask()) for value, ask in self._asked.items()]
