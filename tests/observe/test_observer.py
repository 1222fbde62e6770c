from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.names import Endpoint, TunnelId
from ferry.observe.levels import HANDSHAKE_LEVELS, LEVELS, level_name, level_of, parse_level
from ferry.observe.observer import LevelName, LogFormat, Observation, observing
from ferry.observe.texts import quoted
from ferry.report import Report
from ferry.visits import Visit
from hurried_loop import hurried
from turns import turns

VISITS_GATHERED = 256
VISIT = Visit(
    TunnelId("t1"), "blog.example.com", "http", Endpoint("192.0.2.1", 5), "GET", "/", 200, 0.0100000001, 10, 2000
)  # fmt: skip


@dataclass
class Watched:
    observation: Observation
    path: Path
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        self.report = self.observation.report

    def lines(self) -> list[dict[str, object]]:
        """Ends the log and reads it."""
        assert self.observation.log.close(5)
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@contextmanager
def watched(tmp_path: Path, level: LevelName = "info", log_format: LogFormat = "auto") -> Iterator[Watched]:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        with observing(SystemClock(), version="0.1.0", level=level, log_format=log_format, fd=fd) as observation:
            yield Watched(observation, path)
    finally:
        os.close(fd)


def test_a_report_becomes_a_line_a_count_and_an_event(tmp_path: Path) -> None:
    with watched(tmp_path) as w:
        w.report("tunnel.opened", tunnel="t1", connection="s1", address="blog.example.com", kind="http", url="x\x07")
        assert [e.name for e in w.observation.events.last()] == ["tunnel.opened"]
        assert w.observation.metrics.registry.get_sample_value("ferry_tunnels", {"kind": "http"}) == 1
        (line,) = w.lines()
    assert (line["event"], line["level"], line["tunnel"], line["url"]) == ("tunnel.opened", "info", "t1", "x\\x07")


def test_the_level_hides_lines_but_neither_counts_nor_events(tmp_path: Path) -> None:
    with watched(tmp_path, "warning") as w:
        w.report("visit", visit=VISIT)
        w.report("channel.opened", tunnel="t1")
        w.observation.set_level("debug")
        w.report("channel.opened", tunnel="t2")
        value = w.observation.metrics.registry.get_sample_value
        assert value("ferry_requests_total", {"kind": "http", "class": "2xx"}) == 1
        assert value("ferry_channels_opened_total") == 2
        assert [e.name for e in w.observation.events.last()] == ["visit"]
        assert [line["tunnel"] for line in w.lines()] == ["t2"]


async def test_gathered_visits_keep_their_order_among_other_events(tmp_path: Path) -> None:
    with watched(tmp_path) as w, w.observation.events.subscribe() as follower:
        w.report("visit", visit=VISIT)
        w.report("visit", visit=VISIT._replace(target="/\x1b", status=502, note="nothing answers"))
        w.report("name.freed", address="a", identity="web-1")
        w.report("visit", visit=VISIT._replace(target="/last"))
        reading = aiter(follower)
        async with asyncio.timeout(10):
            seen = [await anext(reading) for _ in range(4)]
        assert [(event.seq, event.name) for event in seen] == [
            (1, "visit"), (2, "visit"), (3, "name.freed"), (4, "visit")
        ]  # fmt: skip
        assert w.observation.events.last() == seen
        document = seen[1].document()
        one, two, three, four = w.lines()
    parts = {
        "peer": "192.0.2.1:5",
        "target": "/\\x1b",
        "status": 502,
        "seconds": 0.01,
        "up": 10,
        "note": "nothing answers",
    }
    assert document.items() >= parts.items()
    assert two.items() >= parts.items()
    assert (one["target"], three["event"], four["target"]) == ("/", "name.freed", "/last")


async def test_visits_that_still_gather_at_the_end_are_logged(tmp_path: Path) -> None:
    with watched(tmp_path) as w:
        w.report("visit", visit=VISIT)
    assert json.loads(w.path.read_text())["event"] == "visit"


async def test_endless_visits_gather_up_to_a_bound(tmp_path: Path) -> None:
    with watched(tmp_path, "warning") as w, w.observation.events.subscribe() as follower:
        reading = asyncio.ensure_future(anext(aiter(follower)))
        for _ in range(VISITS_GATHERED - 1):
            w.report("visit", visit=VISIT)
        await turns()
        assert not reading.done()
        w.report("visit", visit=VISIT)
        await turns(2)
        assert reading.done()


@hurried
async def test_a_follower_sees_a_visit_soon_though_nothing_follows_it(tmp_path: Path) -> None:
    """VISITS_GATHER_SECONDS."""
    with watched(tmp_path) as w, w.observation.events.subscribe() as follower:
        for _ in range(2):  # the second one gathers anew
            w.report("visit", visit=VISIT)
            async with asyncio.timeout(1):
                assert (await anext(aiter(follower))).name == "visit"


async def test_readers_of_counts_or_events_see_the_visits_that_have_just_ended(tmp_path: Path) -> None:
    with watched(tmp_path) as w:
        w.report("visit", visit=VISIT)
        assert [event.name for event in w.observation.events.last()] == ["visit"]
        w.report("visit", visit=VISIT)
        value = w.observation.metrics.registry.get_sample_value
        assert value("ferry_requests_total", {"kind": "http", "class": "2xx"}) == 2


def test_a_report_that_cannot_be_counted_is_told_and_logged(tmp_path: Path) -> None:
    with watched(tmp_path) as w:
        w.report("tunnel.opened", tunnel="t1")  # its kind is missing
        assert w.observation.metrics.registry.get_sample_value("ferry_report_failures_total") == 1
        failed, opened = w.lines()
    assert (failed["event"], failed["about"], failed["level"]) == ("report.failed", "tunnel.opened", "error")
    assert "KeyError" in str(failed["traceback"])
    assert opened["event"] == "tunnel.opened"


def test_standard_logging_goes_the_same_way_and_comes_back_after(tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:]
    with watched(tmp_path) as w:
        try:
            raise ValueError("bad \x1b[31m")
        except ValueError:
            logging.getLogger("ferry.tasks").exception("task %s failed", "edge\n")
        logging.getLogger("asyncssh").info("narration")
        logging.getLogger("asyncssh").warning("trouble")
        first, second = w.lines()
    assert logging.getLogger().handlers == before
    assert (first["event"], first["logger"], first["level"]) == ("log", "ferry.tasks", "error")
    assert first["message"] == "task edge\\n failed"
    assert str(first["traceback"]).endswith("ValueError: bad \\x1b[31m")
    assert second["message"] == "trouble"


def test_standard_logging_without_an_exception_has_no_traceback(tmp_path: Path) -> None:
    with watched(tmp_path) as w:
        logging.getLogger("asyncio").error("trouble", exc_info=True)
        (line,) = w.lines()
    assert line["message"] == "trouble"
    assert not {"traceback", "error"} & set(line)


def test_human_lines_when_asked_for(tmp_path: Path) -> None:
    with watched(tmp_path, log_format="human") as w:
        w.report("name.freed", address="blog.example.com", identity="web-1")
        assert w.observation.log.close(5)
    assert w.path.read_text().endswith("name.freed         address=blog.example.com identity=web-1\n")


@pytest.mark.parametrize("text", ["a b", 'a"b', 'a\\"status=500', "a b\\", "a=\\x1b", ""])
def test_a_quoted_value_cannot_be_left_early(text: str) -> None:
    assert json.loads(quoted(text)) == text


def test_levels() -> None:
    assert level_of("handshake.ended", {"outcome": "limit"}) == HANDSHAKE_LEVELS["limit"] == logging.DEBUG
    assert level_of("handshake.ended", {"outcome": "ok"}) == logging.DEBUG
    assert level_of("not in the table", {}) == logging.INFO
    assert [level_name(n) for n in (5, 10, 25, 40, 50)] == ["debug", "debug", "info", "error", "error"]
    assert parse_level("warning") == logging.WARNING


def test_every_event_of_the_vocabulary_has_a_level() -> None:
    import ferry.report

    vocabulary = (ferry.report.__doc__ or "").split("escaped by the observer, not by the caller):")[1]
    named = {word.strip(",") for line in vocabulary.splitlines() for word in line.split() if _is_event(word)}
    assert {"gateway.started", "visit", "loop.lag"} <= named
    assert named - set(LEVELS) - {"handshake.ended"} == set()


def _is_event(word: str) -> bool:
    word = word.strip(",")
    return word == "visit" or (word.count(".") == 1 and word.replace(".", "").isalpha() and not word.endswith("."))


@pytest.mark.parametrize("log_format", ["json", "human"])
def test_lines_lost_are_a_metric(tmp_path: Path, log_format: LogFormat) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with observing(SystemClock(), version="0.1.0", log_format=log_format, fd=writer) as observation:
            observation.report("name.freed")
            assert observation.log.close(5)
            assert observation.metrics.registry.get_sample_value("ferry_log_dropped_total") == 1
    finally:
        os.close(writer)
