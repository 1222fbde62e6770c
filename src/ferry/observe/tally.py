"""Counters that cost one dict operation, for the hot path.

prometheus_client's own counters take a lock and a float box per increment (0.7 µs each; a visit makes three). These
are written by the event loop alone and read by the scrape, which runs in the same loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

LabelValues = tuple[str, ...]


class Tally(Collector):
    """A counter family. `values[labels] += n` counts; `known` label values exist from the start, as 0.

    A series that appears with its first event has no 0 before it, and `rate()` would miss that event.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        known: Iterable[LabelValues] = (),
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self.values: dict[LabelValues, float] = dict.fromkeys(known if labels else [()], 0)
        registry.register(self)

    def add(self, *labels: str, count: float = 1) -> None:
        """Count `count` more under these label values."""
        self.values[labels] = self.values.get(labels, 0) + count

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return [family]


class Level(Collector):
    """A gauge family that goes up and down, never below 0. Otherwise as `Tally`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        known: Iterable[LabelValues] = (),
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self.values: dict[LabelValues, float] = dict.fromkeys(known if labels else [()], 0)
        registry.register(self)

    def move(self, *labels: str, by: float) -> None:
        """Change the level by `by`; an end without its beginning (it came before us) leaves 0."""
        self.values[labels] = max(0, self.values.get(labels, 0) + by)

    def set(self, value: float) -> None:
        """For a gauge without labels."""
        self.values[()] = value

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return [family]


class Asked(Collector):
    """A counter without labels that somebody else keeps, asked for at each scrape."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self.ask: Callable[[], float] = lambda: 0
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return [CounterMetricFamily(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        return [CounterMetricFamily(self._name, self._text, value=self.ask())]


class Reading(Collector):
    """Has no series. Registered first, it is asked first: who gathers what is to be counted counts it in `before`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.before: Callable[[], None] = lambda: None
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        self.before()
        return []
