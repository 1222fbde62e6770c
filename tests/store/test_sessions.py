"""One row per session, written behind, and no row left open by a crash."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferry import limits
from ferry.names import Fingerprint, Identity, IdentityId, SessionId, WorkerId
from ferry.registry.contract import StoreUnavailable
from ferry.report import nothing
from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry
from ferry.store.sessions import STOPPED, SessionRow, Sessions, end_left_over

STORE_BATCH = 500
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
NOBODY = Identity(IdentityId("anon-1"), None, None, anonymous=True)


@pytest.fixture
def reports() -> list[tuple[str, object]]:
    return []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await Store.open(tmp_path / "ferry.db", report=nothing, busy_seconds=0.02) as opened:
        yield opened


@pytest.fixture
def sessions(store: Store, reports: list[tuple[str, object]]) -> Sessions:
    return Sessions(store, lambda event, /, **fields: reports.append((event, fields.get("rows"))))


def start(sessions: Sessions, name: str, now: float, who: Identity = ANN) -> None:
    sessions.session_started(SessionId(name), who, "192.0.2.7:50022", "OpenSSH_9.2\x1b[2J", now)


async def test_a_session_from_start_to_end(sessions: Sessions) -> None:
    start(sessions, "s1", 10)
    start(sessions, "s2", 11, NOBODY)
    await sessions.flush()
    sessions.session_ended(SessionId("s1"), "closed by the client", 5_000_000_000, 7, 20)
    await sessions.flush()
    escaped = "OpenSSH_9.2\\x1b[2J"
    newest, oldest = await sessions.recent(10)
    assert newest == SessionRow(SessionId("s2"), IdentityId("anon-1"), None, "192.0.2.7:50022", escaped, 11)
    assert oldest == SessionRow(
        SessionId("s1"), ANN.id, ANN.fingerprint, "192.0.2.7:50022", escaped, 10,
        ended=20, reason="closed by the client", up=5_000_000_000, down=7,
    )  # fmt: skip
    assert await sessions.recent(1) == [newest]
    assert await sessions.recent(10, identity=ANN.id) == [oldest]


async def test_rows_are_written_without_anybody_waiting(sessions: Sessions, tmp_path: Path) -> None:
    for number in range(2 * STORE_BATCH):
        start(sessions, f"s{number}", number)
        sessions.session_ended(SessionId(f"s{number}"), "gone", number, 0, number + 1)
    await sessions.flush()
    with sqlite3.connect(tmp_path / "ferry.db") as other:
        count = other.execute("SELECT count(*), count(ended), sum(up = started) FROM sessions").fetchone()
    other.close()
    assert count == (2 * STORE_BATCH,) * 3


async def test_rows_that_come_one_after_another_are_written_each_and_by_one_writer(sessions: Sessions) -> None:
    for number in range(3):
        start(sessions, f"s{number}", number)
        start(sessions, f"t{number}", number)
        assert [task.get_name() for task in asyncio.all_tasks()].count("store.sessions") == 1
        while len(await sessions.recent(10)) < 2 * (number + 1):
            await asyncio.sleep(0)
        while any(task.get_name() == "store.sessions" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)


async def test_what_could_not_be_written_waits_for_the_next_turn(sessions: Sessions, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start(sessions, "s1", 10)
    sessions.session_ended(SessionId("s1"), "gone", 1, 2, 20)
    with pytest.raises(StoreUnavailable):
        await sessions.flush()
    other.execute("ROLLBACK")
    other.close()
    start(sessions, "s2", 30)
    await sessions.flush()
    assert [(row.id, row.ended) for row in await sessions.recent(10)] == [("s2", None), ("s1", 20)]


async def test_a_full_queue_drops_and_tells(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, object]]
) -> None:
    monkeypatch.setattr(limits, "STORE_QUEUE", 2)
    for number in range(5):
        start(sessions, f"s{number}", number)
    assert reports == [("store.dropped", 1)]
    await sessions.flush()
    assert reports == [("store.dropped", 1), ("store.dropped", 2)]
    assert sessions.dropped == 3
    assert [row.id for row in await sessions.recent(10)] == ["s1", "s0"]
    start(sessions, "later", 9)
    await sessions.flush()
    assert len(await sessions.recent(10)) == 3
    assert len(reports) == 2


async def test_as_shipped_so_many_rows_wait(sessions: Sessions) -> None:
    """STORE_QUEUE."""
    for number in range(10_007):
        start(sessions, f"s{number}", number)
    assert sessions.dropped == 7
    await sessions.flush()


async def test_rows_left_open_by_a_crash_end_when_the_gateway_was_last_alive(store: Store, sessions: Sessions) -> None:
    start(sessions, "ended", 5)
    sessions.session_ended(SessionId("ended"), "gone", 0, 0, 6)
    start(sessions, "open", 10)
    start(sessions, "newest", 60)
    await sessions.flush()
    await SqlRegistry(store).renew(WorkerId("w1"), now=50)
    assert await store.run(end_left_over) == 2
    assert await store.run(end_left_over) == 0
    ends = {row.id: (row.ended, row.reason) for row in await sessions.recent(10)}
    assert ends == {"ended": (6, "gone"), "open": (50, STOPPED), "newest": (60, STOPPED)}


async def test_prune_forgets_what_ended_long_ago(sessions: Sessions) -> None:
    for name in ("old", "new", "open"):
        start(sessions, name, 1)
    sessions.session_ended(SessionId("old"), "gone", 0, 0, 10)
    sessions.session_ended(SessionId("new"), "gone", 0, 0, 20)
    await sessions.flush()
    assert await sessions.prune(20) == 1
    assert {row.id for row in await sessions.recent(10)} == {"new", "open"}
