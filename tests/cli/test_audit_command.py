"""`ferry audit`, on records that stand in the database of a stopped gateway, and on what is wrong with them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ferry.cli.audit import describe
from ferry.clock import SystemClock, timestamp
from ferry.protocol.audit import AuditRecord, Kind, Outcome
from ferry.report import no_report
from ferry.store.audit import AuditLog
from ferry.store.engine import Store
from ferry_command import Ran, ferry_on_terminal
from ferry_here import ferry_here

NOW = SystemClock().now()
HOUR = 3600.0
KEY = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
RECORDS = [
    AuditRecord(timestamp(NOW - 50 * HOUR), Kind.LOGIN, Outcome.OK, "web-1", KEY, "192.0.2.7:50022", "c1"),
    AuditRecord(timestamp(NOW - 3 * HOUR), Kind.FORWARD, Outcome.OK, "web-1", KEY, "192.0.2.7:50022", "c1", "port 22080"),
    AuditRecord(timestamp(NOW - HOUR), Kind.LOGIN, Outcome.REFUSED, "", KEY, "203.0.113.9", detail="unknown"),
    AuditRecord(timestamp(NOW), Kind.LOGIN, Outcome.ENDED, "web-1", KEY, "192.0.2.7:50022", "c1", up=1, down=2),
]  # fmt: skip


async def _fill(path: Path, file: Path) -> None:
    async with await Store.open(path, report=no_report) as store:
        log = AuditLog(store, SystemClock(), no_report)
        await log.use_file(file)
        for record in RECORDS:
            log.add(record)
        await log.flush()
        log.close()


class Stopped:
    """The folder of a gateway that has stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir(mode=0o700)
        self.file = folder / "audit.jsonl"
        asyncio.run(_fill(self.state / "ferry.db", self.file))

    def audit(self, *arguments: str | Path) -> Ran:
        return ferry_here("audit", *arguments, "--state", self.state, cwd=self.folder)

    def seqs(self, *arguments: str) -> list[int]:
        done = self.audit("--json", *arguments)
        assert (done.code, done.err) == (0, "")
        return [json.loads(line)["seq"] for line in done.out.splitlines()]

    def tamper(self, statement: str) -> None:
        with closing(sqlite3.connect(self.state / "ferry.db")) as database:
            database.executescript(f"DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted; {statement}")


@pytest.fixture
def stopped(tmp_path: Path) -> Stopped:
    return Stopped(tmp_path)


def test_a_stopped_gateways_records_are_shown_and_nothing_is_written(stopped: Stopped) -> None:
    before = {path.name: path.read_bytes() for path in stopped.state.iterdir()}
    done = stopped.audit()
    assert (done.code, done.err) == (0, "")
    assert [line.split()[3:5] for line in done.out.splitlines() if not line.startswith("       ")] == [
        ["began", "ok"], ["login", "ok"], ["forward", "ok"], ["login", "refused"], ["login", "ended"],
    ]  # fmt: skip
    assert stopped.audit("verify").code == stopped.audit("head").code == 0
    assert {path.name: path.read_bytes() for path in stopped.state.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("--identity", "web-1"), [2, 3, 5]),
        (("--key", KEY), [2, 3, 4, 5]),
        (("--kind", "login"), [2, 4, 5]),
        (("--kind", "login", "--outcome", "refused"), [4]),
        (("--since", "2h"), [4, 5]),
        (("--since", "2d", "--until", "30m"), [3, 4]),
        (("--until", timestamp(NOW - 2 * HOUR)), [1, 2, 3]),
        (("--since", "1999-12-31", "-n", "2"), [4, 5]),
        (("--limit", "0"), []),
    ],
)
def test_filters(stopped: Stopped, arguments: tuple[str, ...], expected: list[int]) -> None:
    found = stopped.seqs(*arguments)
    assert found == expected or (1 in expected and "--until" in arguments and found == expected[1:])


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--since", "yesterday"), "'yesterday' is no time: write 2h, 3d, 2026-11-22"),
        (("--since", "999999d"), "'999999d' is no time"),
        (("verify", "--anchor", "abc"), "'abc' is no anchor: write HASH@N"),
        (("--anchor", "abc"), "--anchor and --lines are for `ferry audit verify`"),
        (("--lines", "f"), "--anchor and --lines are for `ferry audit verify`"),
        (("head", "--lines", "f"), "--anchor and --lines are for `ferry audit verify`"),
        (("verify", "--lines", "nothing"), "nothing: cannot be read: No such file"),
        (("verify", "--lines", "state/ferry.db"), "state/ferry.db has no record of an audit log"),
        (("--kind", "other"), "'other' is not one of"),
        (("--kind", "login", "--kind", "forward"), "one --kind at a time: write --kind login"),
        (("--outcome", "ok", "--outcome", "refused"), "one --outcome at a time: write --outcome ok"),
        (("--limit", "10001"), "'--limit' / '-n': Input should be less than or equal to 10000"),  # AUDIT_SHOWN
    ],
)
def test_invalid_input(stopped: Stopped, arguments: tuple[str, ...], why: str) -> None:
    done = stopped.audit(*arguments)
    assert (done.code, done.out) == (2, "")
    assert why in done.err


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (("--identity", "nobody"), "no records with --identity nobody: an identity is the name of its key, "),
        (("--key", "web-3"), "no records with --key web-3: write the key as SHA256:... (`ferry keys` has them), or --identity web-3"),
        (("--identity", f"{KEY}:m:1"), f"no records with --identity m:1 (CA {KEY}): an identity is the name"),
        (("--key", "SHA256:x"), "no records with --key SHA256:x\n"),
        (("--kind", "block", "--since", "1h"), "no records with --kind block --since 1h\n"),
    ],
)  # fmt: skip
def test_that_no_record_fits_is_said_to_people(stopped: Stopped, arguments: tuple[str, ...], note: str) -> None:
    done = stopped.audit(*arguments)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith(f"ferry: note: {note}")
    as_json = stopped.audit("--json", *arguments)
    assert (as_json.code, as_json.out, as_json.err) == (0, "", "")
    assert stopped.audit("--limit", "0").err == ""


def test_a_line_longer_than_any_record_is_none(stopped: Stopped, tmp_path: Path) -> None:
    """AUDIT_LINE_BYTES."""
    line = stopped.file.read_bytes().splitlines()[0]
    for length, verdict in ((16 * 1024, "1 record"), (17 * 1024, "no record of an audit log")):
        (tmp_path / "lines").write_bytes(b"{" + line[1:].rjust(length - 1) + b"\n")
        done = stopped.audit("verify", "--lines", tmp_path / "lines")
        assert verdict in done.out + done.err


def test_a_pipe_in_the_place_of_the_lines_holds_nothing_up(stopped: Stopped, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = stopped.audit("verify", "--lines", tmp_path / "pipe")
    assert (done.code, "cannot be read: it is not a file" in done.err) == (2, True)


def test_what_cannot_be_read(stopped: Stopped, tmp_path: Path) -> None:
    done = ferry_here("audit", "--state", tmp_path / "none", cwd=tmp_path)
    assert (done.code, "holds no gateway's state" in done.err) == (2, True)
    assert "no gateway runs with" in stopped.audit("-f").err
    with closing(sqlite3.connect(stopped.state / "ferry.db")) as database:
        database.execute("DROP TABLE audit")
    done = stopped.audit("verify")
    assert done.code == 1
    assert "cannot be read: no such table: audit: a gateway of this version makes it at its start" in done.err


def test_a_whole_log_is_proved_and_its_head_is_an_anchor(stopped: Stopped) -> None:
    head = stopped.audit("head")
    assert (head.code, len(head.out)) == (0, 64 + len("@5\n"))
    proved = stopped.audit("verify", "--anchor", head.out)
    assert (proved.code, proved.err) == (0, "")
    assert proved.out == f"5 records, 1 to 5: each follows the one before. The last one is\n{head.out}"
    document = json.loads(stopped.audit("verify", "--json").out)
    whole = {"fits": True, "first": 1, "records": 5, "dropped": 0, "head": head.out.strip(), "wrong": None, "why": ""}
    assert document == whole
    assert json.loads(stopped.audit("head", "--json").out)["anchor"] == head.out.strip()


@pytest.mark.parametrize(
    ("statement", "wrong", "why"),
    [
        ("UPDATE audit SET identity = 'web-2' WHERE seq = 3", 3, "record 3 does not fit"),
        ("DELETE FROM audit WHERE seq = 3", 3, "record 3 is missing: 4 follows 2"),
        ("UPDATE audit SET seq = 9 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; UPDATE audit SET seq = 4 "
         "WHERE seq = 9", 3, "record 3 does not fit"),
        ("DELETE FROM audit WHERE seq > 3", 4, "the log ends with record 3, and the anchor is of record 5"),
        ("DELETE FROM audit", 1, "the end is missing"),
    ],
)  # fmt: skip
def test_the_first_record_that_does_not_fit_is_named(stopped: Stopped, statement: str, wrong: int, why: str) -> None:
    anchor = stopped.audit("head").out
    stopped.tamper(statement)
    done = stopped.audit("verify", "--anchor", anchor)
    assert done.code == 1
    assert why in done.err
    document = json.loads(stopped.audit("verify", "--json", "--anchor", anchor).out)
    assert (document["fits"], document["wrong"], document["records"]) == (False, wrong, wrong - 1)


def test_a_file_of_json_lines_is_proved_too(stopped: Stopped) -> None:
    head = stopped.audit("head").out
    assert stopped.audit("verify", "--lines", stopped.file, "--anchor", head).code == 0
    lines = stopped.file.read_bytes().splitlines(keepends=True)
    stopped.file.write_bytes(b"".join(lines[2:]))  # rotated away
    assert stopped.audit("verify", "--lines", stopped.file).out.startswith("3 records, 3 to 5:")
    stopped.file.write_bytes(b"".join([*lines[:2], lines[2].replace(b"22080", b"22081"), *lines[3:]]))
    done = stopped.audit("verify", "--lines", stopped.file)
    assert (done.code, "record 3 does not fit" in done.err) == (1, True)


def test_a_log_without_most_of_a_flood_is_proved_too(stopped: Stopped) -> None:
    before = stopped.audit("head").out
    asyncio.run(_flood(stopped.state / "ferry.db"))
    proved = stopped.audit("verify", "--anchor", before)
    assert (proved.code, proved.err) == (0, "")
    assert proved.out.startswith(
        "25 records, 1 to 46 without 21 that were dropped from floods: each follows the one before"
    )
    lines = stopped.audit("--json", "-n", "100").out
    assert [json.loads(line)["seq"] for line in lines.splitlines()] == [*range(1, 6), *range(27, 47)]
    stopped.file.write_text(lines)
    assert stopped.audit("verify", "--lines", stopped.file).out == proved.out
    stopped.file.write_text("".join(line for line in lines.splitlines(keepends=True) if '"thin"' not in line))
    done = stopped.audit("verify", "--lines", stopped.file)
    assert (done.code, "records 6 to 26 are missing: 27 follows 5" in done.err) == (1, True)
    stopped.tamper("UPDATE audit SET identity = 'web-2' WHERE seq = 5")
    assert "record 5 does not fit" in stopped.audit("verify").err
    assert "thin     ok      (21 records dropped, up to 26)" in stopped.audit("--kind", "thin").out


async def _flood(path: Path) -> None:
    """Forty records of one identity, of which the first go."""
    async with await Store.open(path, report=no_report) as store:
        log = AuditLog(store, SystemClock(), no_report)
        for _ in range(40):
            log.add(RECORDS[0]._replace(time=timestamp(NOW), identity="web-9", rule="/k, line 1"))
        await log.flush()
        assert await log.prune(keep_seconds=100 * HOUR, keep=25) == 21


HEAD = {"seq": 7, "time": "2026-11-22T16:20:11.042Z", "outcome": "ok"}
LOGIN = HEAD | {"kind": "login", "peer": "192.0.2.7:5", "connection": "c1", "key": "SHA256:n4bQ"}


@pytest.mark.parametrize(
    ("record", "width", "lines"),
    [
        (HEAD | {"kind": "began"}, 40, ["     7 2026-11-22 16:20:11Z began    ok"]),
        (HEAD | {"kind": "forward", "identity": "web-1", "what": "port 22080"}, 61,
         ["     7 2026-11-22 16:20:11Z forward  ok      web-1 port 22080"]),
        (HEAD | {"kind": "forward", "identity": "web-1", "what": "port 22080"}, 60,
         ["     7 2026-11-22 16:20:11Z forward  ok", "       web-1 port 22080"]),
        (LOGIN | {"identity": "web-1"}, 80,
         ["     7 2026-11-22 16:20:11Z login    ok      web-1 from 192.0.2.7:5",
          "       key SHA256:n4bQ; connection c1"]),
        (LOGIN | {"identity": "SHA256:n4bQ"}, 80,
         ["     7 2026-11-22 16:20:11Z login    ok      SHA256:n4bQ from 192.0.2.7:5", "       connection c1"]),
        (HEAD | {"kind": "thin", "what": "a hash", "events": 3, "upto": 6}, 80,
         ["     7 2026-11-22 16:20:11Z thin     ok      (3 records dropped, up to 6)"]),
    ],
)  # fmt: skip
def test_a_record_for_people(record: dict[str, object], width: int, lines: list[str]) -> None:
    assert describe(record, width) == lines


def test_colours_take_no_columns(stopped: Stopped) -> None:
    """The lines break where they do without colours, at the width of the longest and below it."""
    plain = stopped.audit().out
    longest = max(len(line) for line in plain.splitlines() if not line.startswith("       "))
    for width in (longest, longest - 1):
        coloured, without = (
            ferry_on_terminal("audit", "--state", stopped.state, cwd=stopped.folder, columns=width, extra=extra).out
            for extra in ({}, {"NO_COLOR": "1"})
        )
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == without != coloured
        assert (without == plain) is (width == longest)


@pytest.mark.parametrize("width", [40, 100])
def test_a_record_fits_its_columns(width: int) -> None:
    record = {
        "seq": 123456, "time": "2026-11-22T16:20:11.042Z", "kind": "takeover", "outcome": "refused",
        "identity": "a-machine-with-a-name", "key": KEY, "peer": "[2001:db8:1234:5678:9abc:def0:1234:5678]:50022",
        "connection": "0123456789abcdef", "what": "a-long-name.of.a.gateway.example.com", "up": 123456789, "down": 5,
        "rule": "/etc/ferry/keys/web-1.pub, line 1: permitlisten", "detail": "why " * 40, "milliseconds": 1234567,
    }  # fmt: skip
    lines = describe(record, width)
    assert max(map(len, lines)) <= max(width, 70)  # a peer is one word
    text = " ".join(" ".join(lines).split())
    assert "123 MB up, 5 B down, 21m" in text
    assert "by /etc/ferry/keys/web-1.pub, line 1: permitlisten; connection 0123456789abcdef" in text
