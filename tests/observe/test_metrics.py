from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.samples import Sample

from ferry.names import Endpoint, TunnelId
from ferry.observe.batches import VisitBatch
from ferry.observe.levels import LEVELS
from ferry.observe.metrics import HANDSHAKE_BUCKETS, Metrics
from ferry.observe.metrics_page import metrics_page
from ferry.visits import Visit

PAGE = Path(__file__).parents[2] / "docs/reference/metrics.md"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", started=5)


def tell(metrics: Metrics, event: str, **fields: object) -> None:
    metrics.handlers[event](fields)


def test_tunnels_and_connections_go_up_and_down(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    tell(metrics, "connection.opened", connection="s1")
    tell(metrics, "tunnel.opened", kind="tcp")
    tell(metrics, "tunnel.opened", kind="tcp")
    tell(metrics, "tunnel.closed", kind="tcp")
    assert value("ferry_tunnels", {"kind": "tcp"}) == 1
    assert value("ferry_tunnels_opened_total", {"kind": "tcp"}) == 2
    tell(metrics, "connection.closed", connection="s1", up=1, down=1)
    assert (value("ferry_connections"), value("ferry_connects_total")) == (0, 1)
    tell(metrics, "connection.closed")
    assert value("ferry_connections") == 0


@pytest.mark.parametrize(
    ("status", "kind", "label"),
    [(101, "http", "1xx"), (200, "http", "2xx"), (599, "http", "5xx"), (0, "http", "none"), (0, "tcp", "none"), (999, "http", "none")],
)  # fmt: skip
def test_visits_by_class(metrics: Metrics, status: int, kind: str, label: str) -> None:
    value = metrics.registry.get_sample_value
    assert value("ferry_requests_total", {"kind": kind, "class": label}) == 0
    visit = Visit(TunnelId("t1"), "blog", kind, Endpoint("192.0.2.1", 5), "", "/", status, 0.1, up=7, down=9)
    metrics.count_visits(VisitBatch.of([visit], []))
    assert value("ferry_requests_total", {"kind": kind, "class": label}) == 1
    assert value("ferry_bytes_total", {"direction": "up"}) == 7
    assert value("ferry_bytes_total", {"direction": "down"}) == 9


def test_handshakes(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    for outcome in ("ok", "failed"):
        tell(metrics, "handshake.started", peer="p")
        assert value("ferry_handshakes_in_progress") == 1
        tell(metrics, "handshake.ended", peer="p", seconds=0.02, outcome=outcome)
        assert value("ferry_handshakes_total", {"outcome": outcome}) == 1
    tell(metrics, "handshake.ended", peer="p", seconds=0, outcome="limit")
    assert value("ferry_handshakes_in_progress") == 0
    assert value("ferry_handshake_seconds_count") == 1
    assert value("ferry_handshake_seconds_bucket", {"le": "0.025"}) == 1


def test_the_histogram_has_the_samples_of_prometheus_clients_own(metrics: Metrics) -> None:
    theirs = CollectorRegistry()
    histogram = Histogram("ferry_handshake_seconds", "", buckets=HANDSHAKE_BUCKETS, registry=theirs)
    for seconds in (0, 0.005, 0.0051, 1, 29.9, 120, 1000):
        histogram.observe(seconds)
        tell(metrics, "handshake.ended", peer="p", seconds=seconds, outcome="ok")
    found = {(sample.name, sample.labels.get("le")): sample.value for sample in _samples(metrics.registry)}
    for sample in _samples(theirs):
        if not sample.name.endswith("_created"):
            assert found[sample.name, sample.labels.get("le")] == sample.value, sample


def _samples(registry: CollectorRegistry) -> list[Sample]:
    return [
        sample for family in registry.collect() if family.name == "ferry_handshake_seconds" for sample in family.samples
    ]


def test_the_rest(metrics: Metrics) -> None:
    value = metrics.registry.get_sample_value
    tell(metrics, "tunnel.refused", code="port_in_use", detail="a text")
    tell(metrics, "channel.failed", failure="refused")
    tell(metrics, "edge.refused", edge="http", status=404, peer="p", reason="no such name")
    tell(metrics, "store.failed", error="disk")
    tell(metrics, "gateway.draining")
    tell(metrics, "loop.lag", seconds=0.5)
    assert value("ferry_refusals_total", {"reason": "port_in_use"}) == 1
    assert value("ferry_channel_failures_total", {"failure": "refused"}) == 1
    assert value("ferry_edge_refusals_total", {"edge": "http", "status": "404"}) == 1
    assert (value("ferry_store_up"), value("ferry_draining"), value("ferry_event_loop_stalls_total")) == (0, 1, 1)
    tell(metrics, "store.recovered")
    assert value("ferry_store_up") == 1
    labels = {"version": "1.2.3", "python": __import__("platform").python_version()}
    assert value("ferry_build_info", labels) == 1


def test_only_known_events_are_counted(metrics: Metrics) -> None:
    assert set(metrics.handlers) - set(LEVELS) == {"handshake.ended"}


def test_the_reference_page_is_what_the_registry_says() -> None:
    assert PAGE.read_text() == metrics_page(), "write docs/reference/metrics.md again from metrics_page()"
