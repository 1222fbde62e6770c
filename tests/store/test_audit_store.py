"""The audit log in the database: only added to, pruned with a record, written behind, and in a file beside it."""

from __future__ import annotations

import asyncio
import errno
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from child_process import Child
from ferry import limits
from ferry.clock import timestamp
from ferry.errors import StartupError
from ferry.protocol.audit import BEFORE_ALL, AuditRecord, Entry, Kind, Link, Outcome, Wanted, parse_line, prove
from ferry.registry.contract import StoreUnavailable
from ferry.report import no_report
from ferry.store.audit import AuditLog
from ferry.store.audit_file import AuditFile
from ferry.store.audit_pruning import prune
from ferry.store.audit_rows import add, entries_after, wanted_in
from ferry.store.dialect import Connection
from ferry.store.engine import Store
from ferry_command import clean_environment
from hand_clock import StandingClock
from store.audit_chain import entries, proof
from store.sql_steps import steps_of
from turns import turns, until

DAY = 86400.0
NOW = 1_800_000_000.0


def record(number: int, *, at: float = NOW, **fields: Any) -> AuditRecord:
    return AuditRecord(timestamp(at), Kind.LOGIN, Outcome.OK, "web-1", connection=f"c{number}")._replace(**fields)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock(NOW)


@pytest.fixture
def log(store: Store, clock: StandingClock, reports: list[str]) -> Iterator[AuditLog]:
    made = AuditLog(store, clock, lambda event, /, **_: reports.append(event))
    yield made
    made.close()


def writers() -> int:
    """Tasks that write records, or wait to."""
    return sum(task.get_name() == "store.audit" for task in asyncio.all_tasks())


def is_open(path: Path) -> bool:
    return any(Path(link).resolve() == path for link in Path("/proc/self/fd").iterdir())


async def written(log: AuditLog, *records: AuditRecord) -> None:
    for one in records:
        log.add(one)
    await log.flush()


async def test_records_stand_behind_the_first_one_which_names_the_installation(log: AuditLog, store: Store) -> None:
    await written(log, record(1), record(2))
    first, *others = await entries(store)
    assert (first.record.kind, len(first.record.what)) == (Kind.BEGAN, 32)
    assert [entry.record for entry in others] == [record(1), record(2)]
    assert (await proof(store)).fits
    assert await log.head() == others[-1].link


async def test_each_field_of_a_record_has_the_column_of_its_name(store: Store) -> None:
    columns = AuditRecord._fields
    full = AuditRecord._make(number if name in columns[-5:] else name for number, name in enumerate(columns))

    def stored(connection: Connection) -> list[AuditRecord]:
        last = add(connection, [full], installation="here")
        named = connection.execute("SELECT * FROM audit WHERE seq = ?", (last.seq,))
        row = dict(zip((column[0] for column in named.description), named.fetchone(), strict=True))
        assert Link(row.pop("seq"), row.pop("hash")) == last
        (after,) = entries_after(connection, last.seq - 1, 2)
        (wanted,) = wanted_in(connection, Wanted(identity="identity"), after=0, upto=last.seq, most=2)
        assert after.link == wanted.link == last
        return [AuditRecord(**row), after.record, wanted.record]

    assert await store.run(stored) == [full] * 3


async def test_nothing_to_add_is_no_first_record(store: Store) -> None:
    assert await store.run(partial(add, records=[], installation="here")) == BEFORE_ALL
    assert await entries(store) == []


async def test_two_installations_have_no_hash_in_common(log: AuditLog, store: Store, tmp_path: Path) -> None:
    await written(log, record(1))
    async with await Store.open(tmp_path / "other.db", report=no_report) as other:
        await written(AuditLog(other, StandingClock(NOW), no_report), record(1))
        assert {entry.link.hash for entry in await entries(store)}.isdisjoint(
            entry.link.hash for entry in await entries(other)
        )


async def test_records_are_written_without_a_waiting_caller_by_one_task_for_all(log: AuditLog, store: Store) -> None:
    for number in range(1200):
        log.add(record(number))
    await log.write_late()
    assert writers() == 1
    await until(lambda: not writers())
    assert (await proof(store)).head.seq == 1201
    await log.write_late()
    assert not writers()  # nothing is late


async def test_a_record_that_comes_while_others_are_written_is_written_too(log: AuditLog, store: Store) -> None:
    for number in range(50):
        log.add(record(number))
        await turns()
    await until(lambda: not writers())
    assert (await proof(store)).head.seq == 51


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("UPDATE audit SET identity = 'other' WHERE seq = 2", "never changed"),
        ("UPDATE audit SET seq = 9 WHERE seq = 3", "never changed"),
        ("DELETE FROM audit WHERE seq = 3", "only after a record says so"),
        ("DELETE FROM audit", "only after a record says so"),
        ("INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2", "added at its end"),
        ("REPLACE INTO audit SELECT * FROM audit WHERE seq = 2", "added at its end"),
        ("INSERT INTO audit SELECT seq - 5, time, kind, outcome, identity, \"key\", peer, connection, what, rule, detail,"
         " up, down, milliseconds, events, upto, hash FROM audit WHERE seq = 2", "added at its end"),
    ],
)  # fmt: skip
async def test_the_database_itself_refuses_to_change_or_drop_records(
    log: AuditLog, store: Store, path: Path, statement: str, why: str
) -> None:
    await written(log, record(1), record(2))
    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError, match=why):
        other.execute(statement)
    assert (await proof(store)).head.seq == 3


TAMPERED: list[tuple[str, str]] = [
    ("UPDATE audit SET identity = 'other' WHERE seq = 3", "record 3 does not fit"),
    ("UPDATE audit SET time = '2020-01-01T00:00:00.000Z' WHERE seq = 3", "record 3 does not fit"),
    ("UPDATE audit SET hash = 'x' WHERE seq = 3", "record 3 does not fit"),
    ("UPDATE audit SET what = x'ff00' WHERE seq = 3", "record 3 does not fit"),
    ("UPDATE audit SET up = 7 WHERE seq = 3", "record 3 does not fit"),
    ("UPDATE audit SET kind = 'prune', upto = 2, detail = hash WHERE seq = 3", "record 1 is there, and another one says that it was pruned"),
    ("DELETE FROM audit WHERE seq = 3", "record 3 is missing: 4 follows 2"),
    ("DELETE FROM audit WHERE seq < 3", "records 1 to 2 are missing: the log begins with record 3"),
    ("UPDATE audit SET seq = -1 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; UPDATE audit SET seq = 3 "
     "WHERE seq = -1", "record 2 does not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "why"), TAMPERED)
async def test_what_was_changed_behind_the_triggers_is_found(
    log: AuditLog, store: Store, path: Path, statement: str, why: str
) -> None:
    await written(log, *(record(number) for number in range(5)))
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted; DROP TRIGGER audit_is_only_added_to;"
            + statement
        )
    found = await proof(store)
    assert found.why.startswith(why)


async def test_a_cut_end_is_found_by_an_anchor_alone(log: AuditLog, store: Store, path: Path) -> None:
    await written(log, *(record(number) for number in range(5)))
    anchor = await log.head()
    await written(log, record(6))
    assert (await proof(store, anchor)).fits
    with closing(sqlite3.connect(path)) as other:
        other.executescript("DROP TRIGGER audit_is_not_deleted; DELETE FROM audit WHERE seq > 4")
    assert (await proof(store)).fits
    assert "the end is missing" in (await proof(store, anchor)).why
    await written(log, *(record(number) for number in range(7, 10)))  # the gateway goes on, on another chain
    assert "is not the one of the anchor" in (await proof(store, anchor)).why


async def test_old_records_are_pruned_and_a_record_says_so(log: AuditLog, store: Store) -> None:
    await written(log, *(record(number, at=NOW - (100 - number) * DAY) for number in range(90)))
    before = await entries(store)
    assert await log.prune(keep_seconds=30 * DAY, keep=1000) == 71
    left = await entries(store)
    assert left[:-1] == before[71:]
    assert left[-1].record == AuditRecord(
        timestamp(NOW), Kind.PRUNE, Outcome.OK, detail=before[70].link.hash, events=71, upto=71
    )
    assert (await proof(store, before[70].link)).fits
    assert (await proof(store, before[80].link)).fits
    assert await log.prune(keep_seconds=30 * DAY, keep=1000) == 0


async def test_records_past_the_bound_are_pruned_in_pieces(
    log: AuditLog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUDIT_PRUNED", 40)
    await written(log, *(record(number) for number in range(199)))
    assert await log.prune(keep_seconds=DAY, keep=100) == 103  # the records of that count too
    found = await proof(store)
    assert (found.fits, found.first, found.head.seq, found.records) == (True, 1, 203, 100)


async def test_a_clock_that_steps_back_drops_nothing_that_is_young(log: AuditLog, store: Store) -> None:
    await written(log, record(1, at=NOW - 50 * DAY), record(2), record(3, at=NOW - 50 * DAY), record(4))
    assert await log.prune(keep_seconds=30 * DAY, keep=1000) == 2  # up to the first young one
    assert (await proof(store)).fits
    assert [entry.record.connection for entry in await entries(store)][:3] == ["c2", "c3", "c4"]


async def test_a_record_of_pruning_lets_go_of_nothing_behind_it(store: Store, path: Path) -> None:
    await store.run(partial(add, records=[record(n) for n in range(9)], installation="x"))
    work = partial(prune, now=timestamp(NOW), before="0", excess=4, most=100)
    assert await store.run(work) == 4
    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("DELETE FROM audit WHERE seq = 5")


async def test_many_records_are_dropped_quickly(store: Store) -> None:
    """The trigger looks at each: it needs its index."""
    await store.run(partial(add, records=[record(n) for n in range(20_000)], installation="x"))

    work = partial(prune, now=timestamp(NOW), before="0", excess=10_000, most=10_000)
    assert await store.run(steps_of(work)) < 100 * 100


class Measured:
    """A store that notes how much work each transaction is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.steps: list[int] = []

    async def run(self, work: Callable[[Connection], object]) -> object:
        """As the store's."""
        found: list[object] = []
        self.steps.append(await self._store.run(steps_of(lambda connection: found.append(work(connection)))))
        return found[0]


async def test_the_database_does_other_work_while_many_records_are_read_or_dropped(
    store: Store, clock: StandingClock
) -> None:
    """AUDIT_PIECE and AUDIT_PRUNED."""
    old = [record(number, at=NOW - 50 * DAY) for number in range(11_000)]
    await store.run(partial(add, records=old, installation="x"))
    measured = Measured(store)
    log = AuditLog(cast(Store, measured), clock, no_report)
    assert not await log.last(Wanted(identity="nobody"), 10)
    assert 250 < max(measured.steps) < 450
    measured.steps.clear()
    assert await log.prune(keep_seconds=DAY, keep=1000) == 11_001
    assert 2000 < max(measured.steps) < 3500


async def test_unwritten_records_wait_and_the_gateway_says_so(
    log: AuditLog, store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.required = True
    monkeypatch.setattr(limits, "AUDIT_QUEUE", 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        log.add(record(1))
        await until(lambda: log.problem)
        assert (refusal := log.refusal()) is not None
        assert (refusal.code, "retry-after=30" in refusal.public) == ("audit", True)
        log.required = False
        assert log.refusal() is None
        log.required = True
        log.add(record(2))
        assert log.problem == "database is locked"  # that the queue is full has the same cause
        assert not writers()  # neither a failure nor a record has the disk tried again at once
        await log.write_late()
        await log.write_late()
        assert writers() == 1
        with pytest.raises(StoreUnavailable):
            await log.flush()
        other.execute("ROLLBACK")
    await log.write_late()
    await until(lambda: not log.problem)
    assert log.refusal() is None
    assert [entry.record.connection for entry in await entries(store)] == ["", "c1", "c2"]


async def test_a_full_queue_leaves_a_gap_with_its_number(
    log: AuditLog, store: Store, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "AUDIT_QUEUE", 3)
    for number in range(8):
        log.add(record(number))
    assert reports == ["records.lost"]
    assert log.problem == "records come quicker than they can be written"
    await log.flush()
    assert not log.problem
    await written(log, record(9))
    found = [(entry.record.connection, entry.record.kind, entry.record.events) for entry in await entries(store)]
    assert found[1:] == [(f"c{n}", "login", None) for n in range(3)] + [("", "gap", 5), ("c9", "login", None)]


async def test_as_shipped_the_number_of_waiting_records(log: AuditLog, reports: list[str]) -> None:
    """AUDIT_QUEUE."""
    for number in range(20_007):
        log.add(record(number))
    assert reports == ["records.lost"]
    await log.flush()
    assert (await log.last(Wanted(kind="gap"), 9))[0].record.events == 7


# --- the file


def full(_: AuditFile, _found: list[Entry]) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def seqs(path: Path) -> list[int | None]:
    return [entry.link.seq if (entry := parse_line(line)) else None for line in path.read_bytes().splitlines()]


async def test_the_file_has_each_record_once(log: AuditLog, store: Store, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    await written(log, record(1))
    await log.use_file(file)
    await written(log, record(2), record(3))
    assert seqs(file) == [3, 4]
    assert [json.loads(line)["connection"] for line in file.read_text().splitlines()] == ["c2", "c3"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [parse_line(line) for line in file.read_bytes().splitlines()] == (await entries(store))[2:]


async def test_a_rotated_file_is_left_alone(log: AuditLog, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    await log.use_file(file)
    await written(log, record(1))
    moved = file.rename(tmp_path / "audit.jsonl.1")
    await written(log, record(2))
    await log.use_file(file)
    await written(log, record(3))
    assert (seqs(moved), seqs(file)) == ([1, 2, 3], [4])


async def test_what_a_crash_has_torn_or_left_out_is_written_at_the_next_start(
    log: AuditLog, store: Store, clock: StandingClock, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    await log.use_file(file)
    await written(log, record(1), record(2), record(3))
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole[:2]) + whole[2][:50])
    again = AuditLog(store, clock, no_report)
    await again.use_file(file)
    await written(again, record(4))
    again.close()
    assert seqs(file) == [1, 2, None, 3, 4, 5]
    await AuditLog(store, clock, no_report).use_file(file)
    assert seqs(file) == [1, 2, None, 3, 4, 5]  # a whole line was ended already
    found = (entry for line in file.read_bytes().splitlines() if (entry := parse_line(line)))
    assert prove(found, BEFORE_ALL).fits


async def test_a_file_that_cannot_be_opened_changes_nothing(log: AuditLog, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    await log.use_file(file)
    for wrong in (tmp_path / "missing" / "file", tmp_path, Path("/dev/null")):
        with pytest.raises(StartupError, match=r"audit\.file cannot be opened.*name another file"):
            await log.use_file(wrong)
    await written(log, record(1))
    assert seqs(file) == [1, 2]
    assert is_open(file)
    await log.use_file(None)
    await written(log, record(2))
    assert seqs(file) == [1, 2]
    assert not is_open(file)


async def test_a_file_on_a_full_disk_is_told_and_filled_later(
    log: AuditLog, tmp_path: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "audit.jsonl"
    await log.use_file(file)
    await written(log, record(1))

    def half(_: AuditFile, found: list[Entry]) -> None:
        with file.open("a") as target:
            target.write(found[0].line[:30])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(AuditFile, "append", half)
        await written(log, record(2))
        assert log.problem == f"{file} cannot be written: No space left on device"
        await written(log, record(3))
        assert reports == ["records.file_failed"]
        await until(lambda: not writers())
    await log.write_late()
    await until(lambda: not log.problem)
    assert [seq for seq in seqs(file) if seq] == [1, 2, 3, 4]


async def test_a_file_that_many_records_wait_for_gets_five_hundred_at_once(
    log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUDIT_FILE_PIECE."""
    file, pieces = tmp_path / "audit.jsonl", list[int]()
    await log.use_file(file)

    def counted(one: AuditFile, found: list[Entry]) -> None:
        pieces.append(len(found))
        append(one, found)

    append = AuditFile.append
    monkeypatch.setattr(AuditFile, "append", full)
    await written(log, *(record(number) for number in range(1200)))
    monkeypatch.setattr(AuditFile, "append", counted)
    await log.flush()
    assert pieces == [500, 500, 201]  # with the first record of all
    assert seqs(file) == [*range(1, 1202)]


async def test_what_a_full_disk_kept_out_of_a_file_is_in_the_one_that_takes_its_place(
    log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "audit.jsonl"
    await log.use_file(file)
    await written(log, record(1))
    with monkeypatch.context() as patch:
        patch.setattr(AuditFile, "append", full)
        await written(log, record(2), record(3))
    moved = file.rename(tmp_path / "elsewhere")
    await log.use_file(file)
    await log.flush()
    assert (seqs(moved), seqs(file)) == ([1, 2], [3, 4])


# --- readers


async def test_records_are_filtered_and_the_newest_come_last(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_PIECE", 4)
    records = [
        record(n, at=NOW + n, identity="web-2" if n % 3 == 0 else "web-1", key=f"SHA256:{n % 2}") for n in range(30)
    ]
    await written(log, *records, record(30, kind=Kind.REACH, outcome=Outcome.ENDED))

    async def found(wanted: Wanted, most: int = 1000) -> list[str]:
        return [entry.record.connection for entry in await log.last(wanted, most)]

    assert await found(Wanted(), 3) == ["c28", "c29", "c30"]
    assert await found(Wanted(identity="web-2"), 2) == ["c24", "c27"]
    assert await found(Wanted(identity="web-2", key="SHA256:1")) == ["c3", "c9", "c15", "c21", "c27"]
    assert await found(Wanted(kind="reach")) == await found(Wanted(outcome="ended")) == ["c30"]
    assert await found(Wanted(kind="login", since=timestamp(NOW + 28))) == ["c28", "c29"]
    assert await found(Wanted(since=timestamp(NOW + 5), until=timestamp(NOW + 7))) == ["c5", "c6"]
    assert await found(Wanted(), 0) == []


async def test_following_gives_the_past_and_what_comes(log: AuditLog, store: Store) -> None:
    await written(log, record(1), record(2, identity="web-2"))
    seen: list[str] = []

    async def follow(more: Callable[[str], None]) -> None:
        async for entry in log.follow(Wanted(identity="web-1"), 0):
            more(entry.record.connection)

    task = asyncio.get_running_loop().create_task(follow(seen.append))
    await until(lambda: seen == ["c1"])
    await written(log, record(3), record(4, identity="web-2"), record(5))
    await until(lambda: seen == ["c1", "c3", "c5"])
    log.end_followers()
    await asyncio.wait_for(task, 10)
    assert store.healthy


# --- a kill


ENDLESS = """
import asyncio, sys
from pathlib import Path
from ferry.clock import SystemClock, timestamp
from ferry.protocol.audit import AuditRecord
from ferry.report import no_report
from ferry.store.audit import AuditLog
from ferry.store.dialect import Connection
from ferry.store.engine import Store

async def main(folder):
    async with await Store.open(folder / "ferry.db", report=no_report) as store:
        log = AuditLog(store, SystemClock(), no_report)
        await log.use_file(folder / "audit.jsonl")
        while True:
            for _ in range(100):
                log.add(AuditRecord(timestamp(SystemClock().now()), "login", "ok", "web-1"))
            await log.flush()

asyncio.run(main(Path(sys.argv[1])))
"""


def has_grown(writer: Child, file: Path, size: int) -> bool:
    assert writer.running, (writer.exit_code(), writer.err.text)
    return file.exists() and file.stat().st_size >= size


async def test_a_kill_in_the_middle_leaves_a_whole_chain_and_a_file_that_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    for enough in (2_000, 200_000, 500_000):
        with Child([sys.executable, "-c", ENDLESS, tmp_path], env=clean_environment(), cwd=tmp_path) as writer:
            await until(partial(has_grown, writer, file, enough), every=0.002)
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        found = await proof(store)
        assert (found.fits, found.first) == (True, 1)
        log = AuditLog(store, StandingClock(NOW), no_report)
        await log.use_file(file)
        await written(log, record(1))
        log.close()
        assert [seq for seq in seqs(file) if seq] == list(range(1, found.head.seq + 2))
