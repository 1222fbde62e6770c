"""Counters that cost one dict operation, for the hot path.

prometheus_client's own counters take a lock and a float box per increment (0.7 µs each; a visit makes three). These
are written by the event loop alone and read by the scrape, which runs in the same loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

LabelValues = tuple[str, ...]


class _EventFamily(Collector):
    """A family of one sample per label values. Those in `preset` exist from the start, as 0.

    A series that appears with its first event has no 0 before it, and `rate()` would miss that event.
    """

    _metric: ClassVar[type[CounterMetricFamily | GaugeMetricFamily]]

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        text: str,
        labels: tuple[str, ...] = (),
        preset: Iterable[LabelValues] = (),
    ) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self.values: dict[LabelValues, float] = dict.fromkeys(preset if labels else [()], 0)
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        return [self._metric(self._name, self._text, labels=self._labels)]

    def collect(self) -> Iterable[Metric]:
        family = self._metric(self._name, self._text, labels=self._labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return [family]


class EventCounter(_EventFamily):
    """A counter family."""

    _metric = CounterMetricFamily

    def add(self, *labels: str, count: float = 1) -> None:
        """Count `count` more under these label values."""
        self.values[labels] = self.values.get(labels, 0) + count


class EventGauge(_EventFamily):
    """A gauge family that goes up and down, never below 0."""

    _metric = GaugeMetricFamily

    def move(self, *labels: str, by: float) -> None:
        """Change the value by `by`. A report of an end whose beginning was never reported leaves 0."""
        self.values[labels] = max(0, self.values.get(labels, 0) + by)

    def set(self, value: float) -> None:
        """For a gauge without labels."""
        self.values[()] = value


class _PolledFamily(Collector):
    """A family of one sample without labels. Its value is kept elsewhere, and polled at each scrape."""

    _metric: ClassVar[type[CounterMetricFamily | GaugeMetricFamily]]

    def __init__(self, registry: CollectorRegistry, name: str, text: str) -> None:
        self._name = name
        self._text = text
        self._ask: Callable[[], float] = lambda: 0
        registry.register(self)

    def poll(self, ask: Callable[[], float]) -> None:
        """`ask` returns the value."""
        self._ask = ask

    def describe(self) -> Iterable[Metric]:
        return [self._metric(self._name, self._text)]

    def collect(self) -> Iterable[Metric]:
        return [self._metric(self._name, self._text, value=self._ask())]


class PolledCounter(_PolledFamily):
    """A counter family."""

    _metric = CounterMetricFamily


class PolledGauge(_PolledFamily):
    """A gauge family."""

    _metric = GaugeMetricFamily


class PolledGauges(Collector):
    """A gauge family with one label. Its values are kept elsewhere, and polled at each scrape."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> None:
        """`values` of the label have 0 until `poll` is called for them."""
        self._name = name
        self._text = text
        self._label = label
        self._asked: dict[str, Callable[[], float]] = dict.fromkeys(values, int)
        registry.register(self)

    def poll(self, value: str, ask: Callable[[], float]) -> None:
        """`ask` returns the number for `value` of the label."""
        self._asked[value] = ask

    def describe(self) -> Iterable[Metric]:
        return [GaugeMetricFamily(self._name, self._text, labels=[self._label])]

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=[self._label])
        for value, ask in self._asked.items():
            family.add_metric([value], ask())
        return [family]


class ScrapeHook(Collector):
    """Calls a function at the start of each scrape, so that gathered visits are counted first. It has no series.

    It must be registered first: the registry collects in that order.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._before: Callable[[], None] = lambda: None
        registry.register(self)

    def call_first(self, before: Callable[[], None]) -> None:
        """Call `before` from now on."""
        self._before = before

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        self._before()
        return []
