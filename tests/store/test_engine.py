"""The database engine: batches, failures, and the checks of a file."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from sqlite3 import Connection

import pytest

from ferry import limits
from ferry.errors import StartupError
from ferry.registry.contract import StoreUnavailable
from ferry.store.engine import Store
from store.secret_rows import names, put

STORE_WAL_BYTES = 64 * 2**20
STORE_BATCH = 500


class Reports:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []

    def __call__(self, event: str, /, **fields: object) -> None:
        self.seen.append((event, fields))

    @property
    def events(self) -> list[str]:
        return [name for name, _ in self.seen]


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def store(tmp_path: Path, reports: Reports) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "ferry.db", report=reports, busy_seconds=0.05) as opened:
        yield opened


def put_x(connection: Connection) -> str:
    """Returns the name of the row."""
    put(connection, "x")
    return "x"


def remove(connection: Connection, name: str) -> None:
    connection.execute("DELETE FROM secrets WHERE name = ?", (name,))


async def watched(store: Store) -> list[str]:
    """The commits from now on. The next one is of this call."""
    commits: list[str] = []

    def watch(connection: Connection) -> None:
        connection.set_trace_callback(lambda said: commits.append(said) if said == "COMMIT" else None)

    await store.run(watch)
    return commits


async def test_folder_and_files_are_for_their_owner_only(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "state" / "ferry.db"
    async with await Store.open(path, report=reports) as store:
        await store.run(lambda connection: put(connection, "x"))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == {"ferry.db": 0o600, "ferry.db-wal": 0o600, "ferry.db-shm": 0o600}


async def test_settings_of_the_connection(store: Store) -> None:
    def settings(connection: Connection) -> list[object]:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "journal_size_limit")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]

    assert await store.run(settings) == ["wal", 1, 1, 50, STORE_WAL_BYTES]


async def test_a_transaction_that_raises_is_undone_alone(store: Store) -> None:
    def fails(connection: Connection) -> None:
        put(connection, "half")
        raise ValueError("no")

    outcomes = await asyncio.gather(
        store.run(lambda connection: put(connection, "first")),
        store.run(lambda connection: put(connection, "second")),
        store.run(fails),
        store.run(lambda connection: put(connection, "second")),  # breaks the primary key
        store.run(lambda connection: put(connection, "third")),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "NoneType", "NoneType", "ValueError", "IntegrityError", "NoneType",
    ]  # fmt: skip
    assert await store.run(names) == {"first", "second", "third"}
    assert store.healthy


async def test_a_storm_costs_few_commits(store: Store) -> None:
    commits = await watched(store)
    await asyncio.gather(*(store.run(partial(put, name=f"n{n}")) for n in range(1000)))
    assert len(await store.run(names)) == 1000
    assert 1 + 1000 / STORE_BATCH <= len(commits) - 2 <= 2 + 1000 / STORE_BATCH  # the first goes alone


async def test_nothing_is_acknowledged_before_its_commit(store: Store, tmp_path: Path) -> None:
    await store.run(lambda connection: put(connection, "x"))
    with sqlite3.connect(tmp_path / "ferry.db") as other:
        assert other.execute("SELECT name FROM secrets").fetchall() == [("x",)]
    other.close()


async def test_a_locked_database_fails_and_recovers(store: Store, tmp_path: Path, reports: Reports) -> None:
    other = sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes = await asyncio.gather(
        *(store.run(lambda connection: put(connection, "x")) for _ in range(3)), return_exceptions=True
    )
    assert [getattr(o, "public", o) for o in outcomes] == ["the gateway cannot reach its database"] * 3
    assert not store.healthy
    other.execute("ROLLBACK")
    other.close()
    await store.run(lambda connection: put(connection, "x"))
    assert store.healthy
    assert reports.seen == [("store.failed", {"error": "database is locked"}), ("store.recovered", {})]


async def test_a_full_disk_fails_the_whole_batch_and_recovers(store: Store, reports: Reports) -> None:
    """SQLite's own page limit gives the same SQLITE_FULL as a full disk; it ends with the connection."""

    def fill(connection: Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the size it has now
        connection.execute("INSERT INTO secrets VALUES ('big', ?)", (bytes(1_000_000),))

    outcomes = await asyncio.gather(
        store.run(lambda connection: put(connection, "alone")),
        store.run(lambda connection: put(connection, "before")),
        store.run(fill),
        store.run(lambda connection: put(connection, "after")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), *[StoreUnavailable] * 3]
    assert reports.seen == [("store.failed", {"error": "database or disk is full"})]
    assert {o.public for o in outcomes if isinstance(o, StoreUnavailable)} == {"the gateway's disk is full"}
    assert await store.run(names) == {"alone"}
    assert not store.healthy  # one that only reads says nothing about the disk
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="database or disk is full") as raised:
            store.check_health()
        assert (raised.value.public, raised.value.readable) == ("the gateway's disk is full", True)
    await store.run(lambda connection: put(connection, "later"))
    store.check_health()
    assert await store.run(names) == {"alone", "later"}
    assert reports.events == ["store.failed", "store.recovered"]


async def test_reads_go_through_beside_failing_writes(store: Store, reports: Reports) -> None:
    def put_much(connection: Connection) -> None:
        connection.execute("INSERT INTO secrets VALUES ('big', ?)", (bytes(1_000_000),))

    await store.run(lambda connection: put(connection, "x"))
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(StoreUnavailable) as caught:
        await store.run(put_much)
    assert caught.value.readable
    outcomes = await asyncio.gather(
        *(store.run(transaction) for _ in range(5) for transaction in (names, put_much)), return_exceptions=True
    )
    assert outcomes[::2] == [{"x"}] * 5
    assert [type(outcome) for outcome in outcomes[1::2]] == [StoreUnavailable] * 5
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
    await store.run(put_much)
    assert reports.events == ["store.failed", "store.recovered"]


async def test_waiting_writes_are_done_before_the_close(tmp_path: Path, reports: Reports) -> None:
    store = await Store.open(tmp_path / "ferry.db", report=reports)
    writes = [asyncio.ensure_future(store.run(partial(put, name=f"n{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.run(names)
    assert not (tmp_path / "ferry.db-wal").exists()  # SQLite's sign that the last connection ended in good order


async def test_a_cancelled_caller_has_written_nothing_or_is_undone(store: Store) -> None:
    running = asyncio.ensure_future(store.run(put_x, undo=remove))
    waiting = asyncio.ensure_future(store.run(lambda connection: put(connection, "y")))
    await asyncio.sleep(0)
    running.cancel()
    waiting.cancel()
    await asyncio.wait([running, waiting])
    assert running.cancelled()
    assert waiting.cancelled()
    await store.run(lambda connection: None)  # the undo is queued before whatever comes after it
    assert await store.run(names) == set()


async def test_a_caller_cancelled_between_commit_and_wake_up_is_undone(store: Store) -> None:
    async def canceller() -> None:
        await store.run(names)
        assert late.cancel()  # its result is set in the same batch, but its turn on the loop comes after ours

    running = asyncio.ensure_future(store.run(names))
    first = asyncio.ensure_future(canceller())
    late = asyncio.ensure_future(store.run(put_x, undo=remove))
    await asyncio.wait([running, first, late])
    await first
    assert late.cancelled()
    assert await store.run(names) == set()


@pytest.mark.parametrize("cancelled", ["while it runs", "before it wakes up"])
async def test_a_failed_transaction_is_not_undone_when_its_caller_is_cancelled(store: Store, cancelled: str) -> None:
    """What an undo takes away may be somebody else's by now. And who is cancelled hears of that, of nothing else."""
    undone: list[None] = []

    def undo(_connection: Connection, value: None) -> None:
        undone.append(value)

    def fail(_connection: Connection) -> None:
        raise ValueError("no")

    async def canceller() -> None:
        await store.run(names)
        assert late.cancel()

    running = asyncio.ensure_future(store.run(names))
    if cancelled == "before it wakes up":
        first = asyncio.ensure_future(canceller())
        late = asyncio.ensure_future(store.run(fail, undo=undo))
        await first
    else:
        await running
        late = asyncio.ensure_future(store.run(fail, undo=undo))
        await asyncio.sleep(0)
        late.cancel()
    await asyncio.wait([running, late])
    assert late.cancelled()
    await store.run(names)
    assert undone == []


@pytest.mark.parametrize("how", ["a full disk", "what a start writes"])
async def test_a_storm_after_a_full_disk_costs_few_commits_again(store: Store, how: str) -> None:
    def put_much(connection: Connection) -> None:
        connection.execute("INSERT INTO secrets VALUES ('big', zeroblob(1000000))")

    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").close())
    if how == "a full disk":
        with pytest.raises(StoreUnavailable):
            await store.run(put_much)
    else:
        assert not await store.first(put_much)
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").close())
    if how == "a full disk":
        await store.run(lambda connection: put(connection, "there is room"))
    commits = await watched(store)
    await asyncio.gather(*(store.run(names) for _ in range(100)))
    assert len(commits) <= 4


async def test_transactions_that_wait_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_WAITING", 3)
    outcomes = await asyncio.gather(*(store.run(names) for _ in range(6)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    assert len(refused) == 2  # one runs, three wait
    assert store.healthy


async def test_as_shipped_the_number_of_waiting_transactions(store: Store) -> None:
    """STORE_WAITING."""
    outcomes = await asyncio.gather(*(store.run(names) for _ in range(20_008)), return_exceptions=True)
    assert sum(isinstance(outcome, StoreUnavailable) for outcome in outcomes) == 7  # one runs


async def test_not_a_database(tmp_path: Path, reports: Reports) -> None:
    path = tmp_path / "ferry.db"
    path.write_bytes(b"hello" * 1000)
    with pytest.raises(StartupError, match=r"not a database.*bring a backup back"):
        await Store.open(path, report=reports)
    assert path.read_bytes() == b"hello" * 1000


async def test_a_path_that_can_not_be_used(tmp_path: Path, reports: Reports) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartupError, match="name another one with `state`"):
        await Store.open(tmp_path / "file" / "ferry.db", report=reports)


async def test_as_shipped_a_write_waits_five_seconds_for_another_process(tmp_path: Path, reports: Reports) -> None:
    """STORE_BUSY_SECONDS, as SQLite has it: nobody waits for it here."""
    async with await Store.open(tmp_path / "ferry.db", report=reports) as store:
        asked = "PRAGMA busy_timeout"
        assert await store.run(lambda connection: next(iter(connection.execute(asked)))[0]) == 5_000


async def test_locked_at_the_start(tmp_path: Path, reports: Reports) -> None:
    async with await Store.open(tmp_path / "ferry.db", report=reports):
        other = sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StartupError, match=r"locked.*another ferry"):
            await Store.open(tmp_path / "ferry.db", report=reports, busy_seconds=0.01)
        other.close()


async def test_errors_do_not_quote_values(store: Store, tmp_path: Path, reports: Reports) -> None:
    other = sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable) as caught:
        await store.run(lambda connection: connection.execute("SELECT 'hunter2'"))
    other.close()
    assert "hunter2" not in str(caught.value) + str(reports.seen)
