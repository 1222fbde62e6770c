"""The metrics for Prometheus: one object for each worker. Reports alone update it.

Label values come from our own small vocabularies (kinds, codes, outcomes, status classes), never from the network:
a stranger must not be able to make series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ferry import kinds
from ferry.names import Kind

from .batches import VisitBatch
from .metric_families import (
    EventCounter,
    EventGauge,
    EventHistogram,
    Families,
    PolledCounter,
    PolledGauge,
    PolledGauges,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Fields = Mapping[str, object]
KINDS: Final = tuple((kind.value,) for kind in Kind)
CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
HANDSHAKE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


def status_class(status: int) -> str:
    """`2xx` for 204; `none` where no answer was sent, or one that HTTP does not know."""
    return f"{status // 100}xx" if 100 <= status < 600 else "none"


TABLES: Final = ("addresses", "offenders", "unidentified", "certificates")
"""The values of the label of `ferry_table_entries`."""


class Metrics:
    """All metrics of one worker. `handlers` maps an event's name to the function that counts it. `count_visits` counts
    visits."""

    def __init__(self, *, version: str, started: float) -> None:
        """`started` is in seconds since the epoch."""
        r = self.families = Families()
        self._version = version
        EventGauge(r, "ferry_start_time_seconds", "When the gateway started, since the epoch.").set(started)
        self.draining = EventGauge(r, "ferry_draining", "1 while the gateway finishes and takes nothing new.")
        self._tunnels(r)
        self._visits(r)
        self._connections(r)
        self._process(r)
        self.handlers: dict[str, Callable[[Fields], None]] = {
            "gateway.draining": lambda _: self.draining.set(1),
            "config.reloaded": lambda _: self.reloads.add("ok"),
            "config.rejected": lambda _: self.reloads.add("rejected"),
            "handshake.started": lambda _: self.handshaking.move(by=1),
            "handshake.ended": self._handshake_ended,
            "connection.opened": self._connection_opened,
            "connection.closed": lambda _: self.connections.move(by=-1),
            "host.opened": lambda _: self.hosts.move(by=1),
            "host.closed": lambda _: self.hosts.move(by=-1),
            "tunnel.opened": self._tunnel_opened,
            "tunnel.closed": lambda f: self.tunnels.move(str(f["kind"]), by=-1),
            "tunnel.refused": self._refused,
            "reach.refused": self._refused,
            "request.refused": self._refused,
            "tunnel.takeover": lambda _: self.takeovers.add(),
            "channel.opened": lambda _: self.channels.add(),
            "channel.failed": lambda f: self.channel_failures.add(str(f["failure"])),
            "edge.refused": lambda f: self.edge_refusals.add(str(f["edge"]), str(f["status"])),
            "tls.failed": lambda _: self.tls_failures.add(),
            "store.failed": self._store_failed,
            "store.recovered": lambda _: self.store_up.set(1),
            "store.dropped": lambda f: self.store_dropped.add(count=_number(f["rows"])),
            "accept.paused": lambda _: self.accept_pauses.add(),
            "accept.stopped": lambda _: self.accept_pauses.add(),
            "address.blocked": lambda _: self.blocks.add(),
            "loop.lag": lambda _: self.stalls.add(),
            "report.failed": lambda _: self.report_failures.add(),
        }

    def _tunnels(self, r: Families) -> None:
        self.tunnels = EventGauge(r, "ferry_tunnels", "Open tunnels.", ("kind",), KINDS)
        self.tunnels_opened = EventCounter(r, "ferry_tunnels_opened_total", "Opened tunnels.", ("kind",), KINDS)
        self.takeovers = EventCounter(
            r, "ferry_takeovers_total", "Tunnels that a newer connection of the same identity took over."
        )
        self.refusals = EventCounter(
            r,
            "ferry_refusals_total",
            "Refused forwards, connections through the gateway, and other requests, by the reason's code.",
            ("reason",),
        )

    def _visits(self, r: Families) -> None:
        with_status = {kind.value for kind, what in kinds.KINDS.items() if what.has_status}
        known = [(kind, status) for (kind,) in KINDS for status in (CLASSES if kind in with_status else ("none",))]
        self.requests = EventCounter(
            r,
            "ferry_requests_total",
            "HTTP requests by class of status, and connections of the other kinds (class `none`, also for visitors that left before an answer). Counted when they end.",
            ("kind", "class"),
            known,
        )
        self.bytes = EventCounter(
            r,
            "ferry_bytes_total",
            "Payload of visits, `up` from visitors to tunnels. Counted when a visit ends.",
            ("direction",),
            [("up",), ("down",)],
        )
        self.channels = EventCounter(r, "ferry_channels_opened_total", "Streams opened through tunnels.")
        self.channel_failures = EventCounter(
            r,
            "ferry_channel_failures_total",
            "Streams that failed to open. `refused`: the local service cannot be reached.",
            ("failure",),
            [("refused",), ("gone",), ("limit",), ("timeout",)],
        )
        self.edge_refusals = EventCounter(
            r,
            "ferry_edge_refusals_total",
            "Answers of the gateway itself to visitors, by status (0 if none could be sent).",
            ("edge", "status"),
        )
        self.tls_failures = EventCounter(r, "ferry_tls_failures_total", "Failed TLS handshakes of visitors.")
        self.visitors = PolledGauge(r, "ferry_http_connections", "Open connections of visitors over HTTP and HTTPS.")
        self.tables = PolledGauges(
            r,
            "ferry_table_entries",
            "Entries of tables with a bound: `addresses` of visitors, `offenders` (addresses with failed log-ins), `unidentified` connections on the HTTPS port, `certificates` of the local CA.",
            "table",
            TABLES,
        )
        self.idle_streams = PolledGauge(
            r, "ferry_idle_streams", "Streams to local web services that wait for their next request."
        )

    def _connections(self, r: Families) -> None:
        self.connections = EventGauge(r, "ferry_connections", "SSH connections after their log-in.")
        self.hosts = EventGauge(
            r,
            "ferry_host_connections",
            "Connections from the gateway to hosts of the network, for `-L`, `-D` and `-W`.",
        )
        self.connects = EventCounter(r, "ferry_connects_total", "SSH connections that logged in.")
        self.handshaking = EventGauge(r, "ferry_handshakes_in_progress", "SSH log-ins in progress.")
        self.handshakes = EventCounter(
            r,
            "ferry_handshakes_total",
            "SSH log-ins by outcome; `limit` and `blocked` (the address) were refused before they began, `displaced` lost their slot to another client.",
            ("outcome",),
            [("ok",), ("failed",), ("timeout",), ("displaced",), ("limit",), ("blocked",)],
        )
        self.blocks = EventCounter(
            r, "ferry_addresses_blocked_total", "Times an address was blocked for failed log-ins."
        )
        self.handshake_seconds = EventHistogram(
            r, "ferry_handshake_seconds", "Time from the accept to the end of a successful log-in.", HANDSHAKE_BUCKETS
        )

    def _process(self, r: Families) -> None:
        self.store_up = EventGauge(r, "ferry_store_up", "1 while the database can be written, else 0.")
        self.store_up.set(1)
        self.store_failures = EventCounter(r, "ferry_store_failures_total", "Times that the database failed.")
        self.store_dropped = EventCounter(
            r,
            "ferry_store_dropped_rows_total",
            "Rows about SSH connections that were lost while the database was unavailable.",
        )
        self.accept_pauses = EventCounter(
            r, "ferry_accept_pauses_total", "Times that accepting stopped because file descriptors were short."
        )
        self.reloads = EventCounter(
            r, "ferry_config_reloads_total", "Reloads of the configuration.", ("outcome",), [("ok",), ("rejected",)]
        )
        self.lag = EventGauge(r, "ferry_event_loop_lag_seconds", "Delay of the event loop's last timer.")
        self.stalls = EventCounter(
            r, "ferry_event_loop_stalls_total", "Times the event loop was more than 0.25 s late."
        )
        self.log_omitted = EventCounter(
            r,
            "ferry_log_omitted_total",
            "Events without their own log line, because their source, or all sources together, had too many.",
            ("event",),
            [("visit",)],
        )
        self.log_dropped = PolledCounter(
            r, "ferry_log_dropped_total", "Log lines lost to a slow reader or a full disk."
        )
        self.events_dropped = PolledCounter(
            r, "ferry_events_dropped_total", "Events that did not reach slow readers of `ferry events`."
        )
        self.report_failures = EventCounter(
            r, "ferry_report_failures_total", "Reports that could not be counted: a bug."
        )

    @cached_property
    def registry(self) -> CollectorRegistry:
        """What `/metrics` serves. It is made at the first scrape: a gateway that is not scraped saves its modules."""
        from .exposition import registry_of

        return registry_of(self.families, self._version)

    def _handshake_ended(self, fields: Fields) -> None:
        outcome = str(fields["outcome"])
        self.handshakes.add(outcome)
        if outcome not in ("limit", "blocked"):  # turned away before `handshake.started`
            self.handshaking.move(by=-1)
        if outcome == "ok":
            self.handshake_seconds.observe(_number(fields["seconds"]))

    def _connection_opened(self, _fields: Fields) -> None:
        self.connections.move(by=1)
        self.connects.add()

    def _refused(self, fields: Fields) -> None:
        self.refusals.add(str(fields["code"]))

    def _tunnel_opened(self, fields: Fields) -> None:
        kind = str(fields["kind"])
        self.tunnels.move(kind, by=1)
        self.tunnels_opened.add(kind)

    def count_visits(self, batch: VisitBatch) -> None:
        """Count visits of one tunnel that have ended."""
        kind = batch.visits[0].kind
        for status, count in batch.statuses.items():
            self.requests.add(kind, status_class(status), count=count)
        self.bytes.add("up", count=batch.up)
        self.bytes.add("down", count=batch.down)

    def _store_failed(self, _fields: Fields) -> None:
        self.store_up.set(0)
        self.store_failures.add()


def _number(value: object) -> float:
    if isinstance(value, int | float):
        return value
    raise TypeError(f"{value!r} is not a number")
