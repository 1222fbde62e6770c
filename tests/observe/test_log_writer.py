"""The log writer on real pipes: read, unread, and closed by the reader."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferry.clock import timestamp
from ferry.names import printable
from ferry.observe.events import Event
from ferry.observe.render import cached_timestamp, human_lines, json_lines
from ferry.observe.writer import LogWriter

LOG_BATCH = 256
LOG_FIELD_CHARS = 500


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):  # the test may have closed it
            os.close(fd)


def event(number: int = 0, name: str = "tunnel.opened", **fields: object) -> Event:
    return Event(number, 1_700_000_000.0, 20, name, {"number": number, **fields})


def read_lines(fd: int) -> list[dict[str, object]]:
    with open(fd, "rb", closefd=False) as stream:
        return [json.loads(line) for line in stream]


def read_rest(fd: int) -> None:
    """What is left, which begins anywhere."""
    while os.read(fd, 65_536):
        pass


def test_lines_arrive_in_order_and_close_waits_for_them(pipe: tuple[int, int]) -> None:
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    for number in range(100):
        log.put(event(number))
    assert log.close()
    os.close(pipe[1])
    assert [line["number"] for line in read_lines(pipe[0])] == list(range(100))
    assert log.dropped == 0


def test_an_unread_pipe_drops_lines_and_reports_their_number_once_it_flows(pipe: tuple[int, int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0, size=50)
    total = 2000
    for number in range(total):
        log.put(event(number, text="x" * 100))  # far more than pipe and queue hold; returns all the same
    most = 50 + LOG_BATCH + 4096 // 100  # waiting, being written, in the pipe
    assert log.dropped >= total - most
    got: list[dict[str, object]] = []
    reading = threading.Thread(target=lambda: got.extend(read_lines(pipe[0])))
    reading.start()
    assert log.close(10)
    os.close(pipe[1])
    reading.join(10)
    told = [line["count"] for line in got if line["event"] == "log.dropped"]
    assert told == [log.dropped]
    assert len(got) - 1 + log.dropped == total


@pytest.fixture
def held_up(pipe: tuple[int, int]) -> tuple[int, int]:
    """A pipe with room for less than one `long` line."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    return pipe


def long() -> Event:
    return event(list=["y" * 400] * 20)


def begun(reader: int) -> None:
    """The writer has taken what it writes next, and is held up until that is read."""
    assert select.select([reader], [], [], 10)[0]


def one_line(reader: int) -> dict[str, Any]:
    """The next one, and not a byte behind it."""
    line = b""
    while not line.endswith(b"\n"):
        begun(reader)
        line += os.read(reader, 1)
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_notice_comes_once_lines_flow_again_and_not_between_those_that_wait(held_up: tuple[int, int]) -> None:
    reader, writer = held_up
    log = LogWriter(writer, json_lines(), now=lambda: 0.0, size=50)
    log.put(long())
    begun(reader)
    for number in range(80):
        log.put(event(number))
    assert [one_line(reader)["event"] for _ in range(51)] == ["tunnel.opened"] * 51
    told = one_line(reader)
    assert (told["event"], told["count"], log.dropped) == ("log.dropped", 30, 30)
    assert log.close(10)


def test_lines_taken_for_writing_are_bounded_too(held_up: tuple[int, int]) -> None:
    """LOG_BATCH: it no longer counts as waiting."""
    reader, writer = held_up
    size = 2_000
    log = LogWriter(writer, json_lines(), now=lambda: 0.0, size=size)
    log.put(long())
    begun(reader)
    for number in range(size):
        log.put(event(number))
    one_line(reader)
    begun(reader)
    for number in range(size):
        log.put(event(number))
    assert 0 < size - log.dropped < 500
    os.close(reader)
    assert log.close(10)


@contextlib.contextmanager
def stalled(pipe: tuple[int, int]) -> Iterator[LogWriter]:
    """A log with more lines than its pipe takes. At the end they are read, so that the writer's thread ends."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    for number in range(200):
        log.put(event(number, text="x" * 100))
    yield log
    reader = threading.Thread(target=read_lines, args=(pipe[0],))
    reader.start()
    assert log.close(10)
    os.close(pipe[1])
    reader.join(10)


def test_close_gives_up_on_a_stalled_pipe(pipe: tuple[int, int]) -> None:
    with stalled(pipe) as log:
        assert not log.close(0.05)


def test_as_shipped_a_stalled_pipe_holds_up_the_end_for_two_seconds(pipe: tuple[int, int]) -> None:
    """LOG_CLOSE_SECONDS."""
    with stalled(pipe) as log:
        closing = threading.Thread(target=log.close, daemon=True)
        closing.start()
        closing.join(1.5)
        assert closing.is_alive()
        closing.join(3)
        assert not closing.is_alive()


def test_as_shipped_the_number_of_waiting_lines_and_the_size_of_a_batch(pipe: tuple[int, int]) -> None:
    """LOG_QUEUE and LOG_BATCH."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    log.put(event(list=["y" * 400] * 20))  # more than the pipe takes
    assert select.select([pipe[0]], [], [], 5)[0]  # it is being written
    for number in range(10_300):
        log.put(event(number))
    assert log.dropped == 300
    while b"\n" not in os.read(pipe[0], 1024):
        pass
    assert select.select([pipe[0]], [], [], 5)[0]  # the next are
    for number in range(1_000):
        log.put(event(number))
    assert log.dropped == 300 + 1_000 - 256
    reader = threading.Thread(target=read_rest, args=(pipe[0],))
    reader.start()
    assert log.close(10)
    os.close(pipe[1])
    reader.join(10)


def test_a_line_is_there_soon_though_none_follows(pipe: tuple[int, int]) -> None:
    """LOG_GATHER_SECONDS."""
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    log.put(event())
    readable, _, _ = select.select([pipe[0]], [], [], 5)
    assert readable
    assert log.close()


def test_a_reader_that_left_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    for number in range(3):
        log.put(event(number))
    assert log.close()
    assert log.dropped == 3


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    """/dev/full answers every write with ENOSPC."""
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        log = LogWriter(fd, json_lines(), now=lambda: 0.0)
        log.put(event())
        assert log.close()
        assert log.dropped == 1
    finally:
        os.close(fd)


def test_a_line_that_a_full_disk_cut_in_two_does_not_swallow_the_next(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes a disk that is full after 1000 bytes; it is raised again while the writer runs."""
    script = f"""
import os, resource, signal
from ferry.observe.events import Event
from ferry.observe.render import json_lines
from ferry.observe.writer import LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_CREAT)
log = LogWriter(fd, json_lines(), now=lambda: 0.0)
for number in range(20):
    log.put(Event(0, 0.0, 20, "visit", {{"number": number}}))
while not log.dropped:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.put(Event(0, 0.0, 20, "visit", {{"number": "last"}}))
assert log.close()
print(log.dropped)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    torn = [line for line in lines if not line.endswith("}")]
    whole = [json.loads(line) for line in lines if line.endswith("}")]
    assert len(torn) == 1
    assert [line["number"] for line in whole if line["event"] == "visit"] == [*range(20 - int(result.stdout)), "last"]
    assert sum(line["count"] for line in whole if line["event"] == "log.dropped") == int(result.stdout)


def test_a_pipe_that_takes_half_a_line_gets_the_rest_when_there_is_room(pipe: tuple[int, int]) -> None:
    """It was made non-blocking, as another process does to a terminal that it shares with us."""
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(pipe[1], False)
    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    for number in range(10):
        log.put(event(number, list=["y" * 400] * 20))
    got: list[dict[str, object]] = []
    reading = threading.Thread(target=lambda: got.extend(read_lines(pipe[0])))
    reading.start()
    assert log.close(10)
    os.close(pipe[1])
    reading.join(10)
    assert [line["number"] for line in got] == list(range(10))


def test_a_field_that_cannot_be_shown_is_reported_and_logging_goes_on(pipe: tuple[int, int]) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    log = LogWriter(pipe[1], json_lines(), now=lambda: 0.0)
    log.put(event(1, bad=Broken()))
    log.put(event(2))
    assert log.close()
    os.close(pipe[1])
    broken, whole = read_lines(pipe[0])
    assert (broken["event"], broken["about"], broken["error"]) == ("report.failed", "tunnel.opened", "RuntimeError")
    assert whole["event"] == "tunnel.opened"


def test_human_lines_escape_and_can_be_taken_apart() -> None:
    line = human_lines(colour=False)(event(5, target="/a b\x1b[31m", note="", connection=None, quote='say "x"'))
    assert line == (
        '2023-11-14T22:13:20.000Z info    tunnel.opened      number=5 target="/a b\\\\x1b[31m" quote="say \\"x\\""'
    )


def test_a_human_line_without_fields_has_no_blanks_at_its_end() -> None:
    line = human_lines(colour=False)(Event(0, 1_700_000_000.0, 20, "gateway.stopped", {}))
    assert line == "2023-11-14T22:13:20.000Z info    gateway.stopped"


def test_human_lines_have_colour_on_a_terminal_only() -> None:
    assert "\x1b[" in human_lines(colour=True)(event())
    assert "\x1b[" not in human_lines(colour=False)(event())


def test_a_traceback_keeps_its_lines_and_none_of_its_escapes() -> None:
    broken = event(1, traceback="Traceback:\n  line\nValueError: \x1b[2J")
    assert human_lines(colour=False)(broken).splitlines()[1:] == ["  Traceback:", "    line", "  ValueError: \\x1b[2J"]
    assert json.loads(json_lines()(broken))["traceback"] == "Traceback:\n  line\nValueError: \\x1b[2J"


@pytest.mark.parametrize("text", ["\x1b[2J", "\x7f", "é", "\\", "x" * 600, "a\nb", "plain"])
def test_every_renderer_escapes_text_with_printable(text: str) -> None:
    shown = printable(text, LOG_FIELD_CHARS)
    assert json.loads(json_lines()(event(1, target=text)))["target"] == shown
    assert human_lines(colour=False)(event(1, target=text)).endswith(f"target={shown}")


def test_the_remembered_second_gives_the_same_timestamps() -> None:
    stamp = cached_timestamp()
    for seconds in (0.0, 0.9994, 1.0, 1_700_000_000.25, 1_700_000_000.75, 1_699_999_999.5):
        assert stamp(seconds) == timestamp(seconds)
