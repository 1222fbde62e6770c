"""What an attacker can make the log hold: the lines are bounded in bytes, and nothing goes uncounted."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ferry import limits
from ferry.limiters.sources import ExemptNetworks
from ferry.names import Endpoint, TunnelId
from ferry.observe.budgeted import AS_SHIPPED, LogRates
from ferry.observe.levels import LEVELS
from ferry.observe.observer import LevelName, Observation, observing
from ferry.observe.sources import CAUSED_BY, RARE, cause
from ferry.visits import Visit
from hurried_loop import Watch, hurried
from turns import timers, until

LOG_SOURCES_SHOWN = 256
TRACEBACKS_PER_SECOND = 0.1
TRACEBACK_BURST_SECONDS = 60.0
TRACEBACKS_TOGETHER = 0.5
VISIT = Visit(TunnelId("t1"), "blog.example.com", "http", Endpoint("192.0.2.1", 5), "GET", "/", 200, 0.01, 10, 2000)
TEN_MINUTES = 600
MB = 1_000_000


@dataclass
class ByHand:
    """A clock that goes on when the test says so."""

    seconds: float = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> float:
        return 1_700_000_000 + self.seconds


@dataclass
class Attacked:
    observation: Observation
    clock: ByHand
    path: Path
    report: Callable[..., None] = field(init=False)

    def __post_init__(self) -> None:
        self.report = self.observation.report

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Ends the log and reads it."""
        self.observation.tell_all()
        assert self.observation.log.close(20)
        assert self.observation.log.dropped == 0
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def value(self, name: str, **labels: str) -> float:
        return self.observation.metrics.registry.get_sample_value(name, labels) or 0

    def end_of_second(self) -> None:
        self.clock.seconds += 1
        self.observation.report.settle()
        self.observation.budgeted.tell_visits()
        if self.clock.seconds % 10 == 0:
            self.observation.tell_omitted()


@contextmanager
def attacked(tmp_path: Path, rates: LogRates = AS_SHIPPED, level: LevelName = "info") -> Iterator[Attacked]:
    path, clock = tmp_path / "log", ByHand()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        counted = ExemptNetworks(["10.0.0.0/8"]).source_of
        with observing(clock, version="0", level=level, fd=fd, rates=rates, counted=counted) as observation:
            yield Attacked(observation, clock, path)
    finally:
        os.close(fd)


PEER_CAUSES: dict[str, Callable[[int], dict[str, object]]] = {
    "edge.refused": lambda n: {"edge": "http", "status": 503, "peer": f"192.0.2.1:{n}", "reason": "too many" * 60},
    "tunnel.refused": lambda _: {"connection": "s1", "asked": "-R 80", "code": "taken", "detail": "another has it"},
    "reach.refused": lambda _: {"connection": "s1", "asked": "x:22", "code": "no_such_alias", "detail": "not here"},
    "request.refused": lambda _: {"connection": "s1", "asked": "-X", "code": "unknown_form", "detail": "no windows"},
    "channel.failed": lambda _: {"tunnel": "t1", "failure": "refused"},
    "handshake.ended": lambda _: {"peer": "192.0.2.1", "seconds": 0.1, "outcome": "failed"},
    "connection.opened": lambda n: {"connection": f"s{n}", "identity": "me", "peer": f"192.0.2.1:{n}"},
    "store.failed": lambda _: {"error": "database or disk is full"},
}


@pytest.mark.parametrize("event", PEER_CAUSES)
def test_ten_minutes_of_one_attacker_are_three_megabytes_at_most_and_all_is_counted(tmp_path: Path, event: str) -> None:
    """LOG_LINES_PER_SOURCE, LOG_BURST_SECONDS."""
    with attacked(tmp_path) as a:
        for _ in range(TEN_MINUTES):
            for number in range(50):
                a.report(event, **PEER_CAUSES[event](number))
            a.end_of_second()
        told = Counter(line["event"] for line in a.lines())
        omitted = sum(line["count"] for line in a.lines("lines.omitted"))
        assert told[event] + omitted == TEN_MINUTES * 50
        assert a.value("ferry_log_omitted_total", event=event) == omitted
        assert told["lines.omitted"] <= TEN_MINUTES / 10 + 1
    assert a.path.stat().st_size < 3 * MB


def test_an_attacker_with_many_addresses_has_a_bound_too_and_is_named(tmp_path: Path) -> None:
    with attacked(tmp_path) as a:
        for _ in range(100):
            for number in range(300):
                a.report("edge.refused", edge="http", status=503, peer=f"[2001:db8:{number:x}::1]:5", reason="too many")
                a.report("edge.refused", edge="http", status=503, peer="192.0.2.1:77", reason="too many")
            a.end_of_second()
        sums = a.lines("lines.omitted")
        lines = a.lines("edge.refused")
        assert len(lines) + sum(line["count"] for line in sums) == 60_000
        assert len(lines) < 7_000
        assert a.value("ferry_edge_refusals_total", edge="http", status="503") == 60_000
        assert {line["most"] for line in sums} == {"192.0.2.1"}
        assert sums[-1]["of_it"] > 2_000
        assert {line["about"] for line in sums} == {"edge.refused"}
        assert max(line["sources"] for line in sums) == LOG_SOURCES_SHOWN  # of 301
    assert a.path.stat().st_size < 1 * MB


def test_one_attacker_hides_no_lines_of_others_and_no_rare_ones(tmp_path: Path) -> None:
    with attacked(tmp_path) as a:
        for number in range(5_000):
            a.report("edge.refused", edge="http", status=503, peer=f"192.0.2.1:{number}", reason="too many")
            a.report("tunnel.refused", connection="s1", identity="me", asked="-X", code="unknown_form", detail="")
        a.report("edge.refused", edge="http", status=404, peer="192.0.2.2:5", reason="honest")
        a.report("tunnel.refused", connection="s2", identity="you", asked="-R", code="taken", detail="honest")
        for number in range(500):
            a.report("tunnel.takeover", address=f"a{number}", connection="s1", previous="s0")
        a.report("store.failed", error="database or disk is full")
        assert [line["reason"] for line in a.lines("edge.refused")].count("honest") == 1
        assert [line["detail"] for line in a.lines("tunnel.refused")].count("honest") == 1
        assert len(a.lines("tunnel.takeover")) == 500
        assert len(a.lines("store.failed")) == 1


def test_an_exempt_address_is_not_counted(tmp_path: Path) -> None:
    """A reverse proxy connects for many people: the bound of all holds. LOG_SOURCES_TOGETHER."""
    with attacked(tmp_path) as a:
        for number in range(3_000):
            a.report("edge.refused", edge="http", status=404, peer=f"10.1.2.3:{number}", reason="no such name")
        (omitted,) = a.lines("lines.omitted")
        assert len(a.lines("edge.refused")) == 1_000
        assert omitted.items() >= {"about": "edge.refused", "count": 2_000}.items()
        assert "most" not in omitted


def test_lines_and_sums_make_up_all_visits(tmp_path: Path) -> None:
    """LOG_VISITS_PER_TUNNEL."""
    with attacked(tmp_path) as a, a.observation.events.subscribe():
        for second in range(30):
            for number in range(700):
                status = (200, 204, 404, 502, 0)[number % 5]
                slow = 2.5 if (second, number) == (29, 650) else 0.01
                a.report("visit", visit=VISIT._replace(status=status, seconds=slow))
            a.report("visit", visit=VISIT._replace(tunnel=TunnelId("t2"), address="calm"))
            a.end_of_second()
        visits, sums = a.lines("visit"), a.lines("visits")
        of_one = [line for line in visits if line["tunnel"] == "t1"]
        assert len(of_one) + sum(line["count"] for line in sums) == 30 * 700
        assert len(of_one) < 30 * 20 + 500
        assert len([line for line in visits if line["tunnel"] == "t2"]) == 30
        assert len(sums) <= 30
        assert {line["tunnel"] for line in sums} == {"t1"}
        by_class = Counter(f"status_{str(line['status'])[0]}xx" if line["status"] else "status_none" for line in of_one)
        for line in sums:
            by_class.update({key: value for key, value in line.items() if key.startswith("status_")})
        assert by_class == {"status_2xx": 8400, "status_4xx": 4200, "status_5xx": 4200, "status_none": 4200}
        assert sum(line["down"] for line in of_one + sums) == 30 * 700 * 2000
        assert sum(line["up"] for line in of_one + sums) == 30 * 700 * 10
        assert sums[-1]["slowest"] == 2.5
        assert sums[0]["address"] == "blog.example.com"
        assert a.value("ferry_requests_total", kind="http", **{"class": "2xx"}) == 8400 + 30
        assert a.value("ferry_log_omitted_total", event="visit") == sum(line["count"] for line in sums)


async def test_visits_of_one_turn_are_summed_up_by_tunnel(tmp_path: Path) -> None:
    with attacked(tmp_path, LogRates(visits_per_tunnel=0.1)) as a:  # two at once
        for tunnel in ("t1", "t2", "t1"):
            for _ in range(10):
                a.report("visit", visit=VISIT._replace(tunnel=TunnelId(tunnel)))
        await asyncio.sleep(0)
        a.end_of_second()
        assert Counter(line["tunnel"] for line in a.lines("visit")) == {"t1": 2, "t2": 2}
        assert {line["tunnel"]: line["count"] for line in a.lines("visits")} == {"t1": 18, "t2": 8}


def test_ten_thousand_tunnels_do_not_have_ten_thousand_sums(tmp_path: Path) -> None:
    with attacked(tmp_path, LogRates(visits=0)) as a:
        for number in range(10_000):
            a.report("visit", visit=VISIT._replace(tunnel=TunnelId(f"t{number}")))
        a.end_of_second()
        sums = a.lines("visits")
        assert len(sums) == 50 + 1  # VISITS_SUMMED
        assert sum(line["count"] for line in sums) == 10_000
        (others,) = [line for line in sums if not line["tunnel"]]
        assert others["address"] == "others"


def test_a_level_that_hides_visits_hides_their_sums(tmp_path: Path) -> None:
    with attacked(tmp_path, level="warning") as a:
        for _ in range(5_000):
            a.report("visit", visit=VISIT)
            a.report("edge.refused", edge="http", status=503, peer="192.0.2.1:5", reason="too many")
        assert a.lines() == []


def test_rates_can_be_changed_while_running(tmp_path: Path) -> None:
    with attacked(tmp_path) as a:
        a.observation.set_rates(LogRates(visits=100_000, visits_per_tunnel=100_000, per_source=100_000))
        for number in range(3_000):
            a.report("visit", visit=VISIT)
            a.report("tunnel.refused", connection="s1", code="unknown_form")
            logging.getLogger("ferry.ssh").warning("number %d", number)
        assert Counter(line["event"] for line in a.lines()) == {"visit": 3_000, "tunnel.refused": 3_000, "log": 3_000}


def test_a_mistake_that_a_peer_repeats_fills_no_log_with_tracebacks(tmp_path: Path) -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("no such thing " * 20)

    with attacked(tmp_path) as a:
        for _ in range(60):
            for _ in range(50):
                try:
                    deep(10)
                except ValueError:
                    logging.getLogger("ferry.ssh").exception("SSH connection failed")
            a.end_of_second()
        logs, omitted = a.lines("log"), a.lines("lines.omitted")
        assert len(logs) + sum(line["count"] for line in omitted) == 3_000
        whole = [line for line in logs if "traceback" in line]
        assert "deep" in whole[0]["traceback"]
        at_once = TRACEBACKS_PER_SECOND * TRACEBACK_BURST_SECONDS
        assert len(whole) == pytest.approx(at_once + TRACEBACKS_PER_SECOND * 60, abs=1)
        short = next(line for line in logs if "traceback" not in line)
        assert short["error"].startswith("ValueError: no such thing")
        assert {line["about"] for line in omitted} == {"log"}
        assert omitted[0]["most"].startswith("ferry.ssh:")
    assert a.path.stat().st_size < MB


def test_mistakes_at_many_places_fill_no_log_with_tracebacks_either(tmp_path: Path) -> None:
    with attacked(tmp_path) as a:
        for place in range(300):
            try:
                raise ValueError("bad")
            except ValueError:
                logging.getLogger(f"ferry.place{place}").exception("failed")
        logs = a.lines("log")
        assert len(logs) == 300
        at_once = TRACEBACKS_TOGETHER * TRACEBACK_BURST_SECONDS
        assert sum("traceback" in line for line in logs) == at_once


def test_visits_of_many_tunnels_have_a_bound_in_all(tmp_path: Path) -> None:
    """LOG_VISITS_PER_SECOND."""
    with attacked(tmp_path) as a:
        for second in range(50):
            for number in range(200):
                a.report("visit", visit=VISIT._replace(tunnel=TunnelId(f"t{number}"), up=second))
            a.end_of_second()
        assert 4_000 < len(a.lines("visit")) < 8_000
        assert len(a.lines("visit")) + sum(line["count"] for line in a.lines("visits")) == 10_000


def test_a_count_that_fails_each_time_fills_no_log(tmp_path: Path) -> None:
    with attacked(tmp_path) as a:
        for _ in range(5_000):
            a.report("tunnel.closed", tunnel="t1", connection="s1")  # its kind is missing
        failed = a.lines("report.failed")
        assert len(failed) < 500
        assert sum("traceback" in line for line in failed) < 20
        omitted = {line["about"]: line["count"] for line in a.lines("lines.omitted")}
        assert len(failed) + omitted["report.failed"] == 5_000
        assert a.value("ferry_report_failures_total") == 5_000


@hurried
async def test_visits_are_summed_up_each_second_and_other_lines_each_ten_while_the_gateway_runs(tmp_path: Path) -> None:
    """LOG_SUMMARY_SECONDS and LOG_OMITTED_SECONDS."""
    with attacked(tmp_path) as a:
        for _ in range(1_000):
            a.report("visit", visit=VISIT)
            a.report("tunnel.refused", connection="s1", code="unknown_form")
        with a.observation.summing_up():
            watch, told = Watch(), []
            for moment in (0.9, 1.5, 9.5, 10.5):
                await timers(moment - watch.seconds)
                omitted = [a.value("ferry_log_omitted_total", event=event) for event in ("visit", "tunnel.refused")]
                told.append([count > 0 for count in omitted])
        assert told == [[False, False], [True, False], [True, False], [True, True]]


async def test_the_sums_go_on_after_a_failed_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_SUMMARY_SECONDS", 0.005)
    told: list[bool] = []

    def fails() -> None:
        told.append(True)
        if len(told) == 1:
            raise ZeroDivisionError

    with attacked(tmp_path) as a, a.observation.summing_up():
        monkeypatch.setattr(a.observation.budgeted, "tell_visits", fails)
        await until(lambda: len(told) > 1)


def test_every_event_has_a_budget_or_a_reason_for_none() -> None:
    assert set(CAUSED_BY) | set(RARE) == set(LEVELS) | {"handshake.ended"}
    assert set(CAUSED_BY) & set(RARE) == set()


@pytest.mark.parametrize(
    ("peer", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:80", "2001:db8::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("10.0.0.1:80", ""),
    ],
)
def test_an_address_is_a_source_with_and_without_a_port(peer: str, source: str) -> None:
    assert cause("edge.refused", {"peer": peer}, ExemptNetworks(["10.0.0.0/8"]).source_of) == source
