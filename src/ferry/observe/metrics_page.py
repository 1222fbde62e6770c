"""`docs/reference/metrics.md`, made from the registry itself so that it cannot drift (a test compares)."""

from __future__ import annotations

from .metrics import Metrics

HEAD = """\
# Metrics

Served in Prometheus' text format at `http://127.0.0.1:9380/metrics` (`admin.listen` in the configuration), to this
host only. `/health` beside it answers 200, or 503 while the gateway drains. This page is made from the registry.

| name | type | labels | meaning |
|---|---|---|---|
"""


def metrics_page() -> str:
    """The whole page, as Markdown."""
    metrics = Metrics(version="", started=0)
    for counter, names in ((metrics.refusals, ("code",)), (metrics.edge_refusals, ("edge", "status"))):
        counter.values[names] = 0  # families without preset values would show no labels
    rows = []
    for family in metrics.registry.collect():
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown = ", ".join(f"`{label}`" for label in sorted(labels))
        rows.append(f"| `{name}` | {family.type} | {shown} | {family.documentation} |")
    return HEAD + "\n".join(sorted(rows)) + "\n"
