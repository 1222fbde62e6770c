"""What Prometheus scrapes: a registry of prometheus_client over the families of a worker."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from prometheus_client import Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from .metric_families import EventHistogram, Families, Family


def registry_of(families: Families, version: str) -> CollectorRegistry:
    """A registry that reads the families at each scrape, with what is known of the process and its versions."""
    registry = CollectorRegistry()
    registry.register(_Before(families))  # first: the registry collects in this order
    Info("ferry_build", "Version of Ferry and of Python.", registry=registry).info(
        {"version": version, "python": platform.python_version()}
    )
    for family in families.all:
        registry.register(_Scraped(family))
    ProcessCollector(registry=registry)
    return registry


class _Before(Collector):
    """Calls `Families.before`. It has no series."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        self._families.before()
        return []


class _Scraped(Collector):
    """One family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def describe(self) -> Iterable[Metric]:
        return self.collect()

    def collect(self) -> Iterable[Metric]:
        family = self._family
        if isinstance(family, EventHistogram):
            buckets = [(end, count) for (end,), count in family.samples()]
            return [HistogramMetricFamily(family.name, family.text, buckets=buckets, sum_value=family.sum)]
        make = CounterMetricFamily if family.sort == "counter" else GaugeMetricFamily
        metric = make(family.name, family.text, labels=family.labels)
        for labels, value in family.samples():
            metric.add_metric(labels, value)
        return [metric]
