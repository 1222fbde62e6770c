"""One row per SSH connection, written behind, and no row left open by a crash."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from ferry import limits
from ferry.names import ConnectionId, Fingerprint, Identity, IdentityId, WorkerId
from ferry.registry.contract import StoreUnavailable
from ferry.store.connections import STOPPED, ConnectionRow, ConnectionRows, end_unfinished
from ferry.store.engine import Store
from ferry.store.identities import IdentityStore
from ferry.store.machines import MachineStore
from ferry.store.registry import SqlRegistry
from turns import turns, until

STORE_BATCH = 500
ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
NOBODY = Identity(IdentityId("anon-1"), None, None, anonymous=True)


@pytest.fixture
def reports() -> list[tuple[str, object]]:
    return []


@pytest.fixture
def connections(store: Store, reports: list[tuple[str, object]]) -> ConnectionRows:
    return ConnectionRows(store, lambda event, /, **fields: reports.append((event, fields.get("rows"))))


def start(connections: ConnectionRows, name: str, now: float, who: Identity = ANN) -> None:
    connections.connection_started(ConnectionId(name), who, "192.0.2.7:50022", "OpenSSH_9.2\x1b[2J", now)


async def test_a_connection_from_start_to_end(connections: ConnectionRows) -> None:
    start(connections, "s1", 10)
    start(connections, "s2", 11, NOBODY)
    await connections.flush()
    connections.connection_ended(ConnectionId("s1"), "closed by the client", 5_000_000_000, 7, 20)
    await connections.flush()
    escaped = "OpenSSH_9.2\\x1b[2J"
    newest, oldest = await connections.recent(10)
    assert newest == ConnectionRow(ConnectionId("s2"), IdentityId("anon-1"), None, "192.0.2.7:50022", escaped, 11)
    assert oldest == ConnectionRow(
        ConnectionId("s1"), ANN.id, ANN.fingerprint, "192.0.2.7:50022", escaped, 10,
        ended=20, reason="closed by the client", up=5_000_000_000, down=7,
    )  # fmt: skip
    assert await connections.recent(1) == [newest]
    assert await connections.recent(10, identity=ANN.id) == [oldest]


async def test_rows_are_written_without_a_waiting_caller(connections: ConnectionRows, tmp_path: Path) -> None:
    for number in range(2 * STORE_BATCH):
        start(connections, f"s{number}", number)
        connections.connection_ended(ConnectionId(f"s{number}"), "gone", number, 0, number + 1)
    await connections.flush()
    with sqlite3.connect(tmp_path / "ferry.db") as other:
        count = other.execute("SELECT count(*), count(ended), sum(up = started) FROM connections").fetchone()
    other.close()
    assert count == (2 * STORE_BATCH,) * 3


async def test_successive_rows_are_all_written_by_one_writer(connections: ConnectionRows) -> None:
    for number in range(3):
        start(connections, f"s{number}", number)
        start(connections, f"t{number}", number)
        assert [task.get_name() for task in asyncio.all_tasks()].count("store.connections") == 1
        while len(await connections.recent(10)) < 2 * (number + 1):
            await turns()
        await until(lambda: not any(task.get_name() == "store.connections" for task in asyncio.all_tasks()))


async def test_unwritten_rows_wait_for_the_next_turn(connections: ConnectionRows, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    start(connections, "s1", 10)
    connections.connection_ended(ConnectionId("s1"), "gone", 1, 2, 20)
    with pytest.raises(StoreUnavailable):
        await connections.flush()
    other.execute("ROLLBACK")
    other.close()
    start(connections, "s2", 30)
    await connections.flush()
    assert [(row.id, row.ended) for row in await connections.recent(10)] == [("s2", None), ("s1", 20)]


async def test_a_full_queue_drops_and_tells(
    connections: ConnectionRows, monkeypatch: pytest.MonkeyPatch, reports: list[tuple[str, object]]
) -> None:
    monkeypatch.setattr(limits, "STORE_QUEUE", 2)
    for number in range(5):
        start(connections, f"s{number}", number)
    assert reports == [("store.dropped", 1)]
    await connections.flush()
    assert reports == [("store.dropped", 1), ("store.dropped", 2)]
    assert connections.dropped == 3
    assert [row.id for row in await connections.recent(10)] == ["s1", "s0"]
    start(connections, "later", 9)
    await connections.flush()
    assert len(await connections.recent(10)) == 3
    assert len(reports) == 2


async def test_as_shipped_the_number_of_waiting_rows(connections: ConnectionRows) -> None:
    """STORE_QUEUE."""
    for number in range(10_007):
        start(connections, f"s{number}", number)
    assert connections.dropped == 7
    await connections.flush()


async def test_rows_left_open_by_a_crash_end_when_the_gateway_was_last_alive(
    store: Store, connections: ConnectionRows
) -> None:
    start(connections, "ended", 5)
    connections.connection_ended(ConnectionId("ended"), "gone", 0, 0, 6)
    start(connections, "open", 10)
    start(connections, "newest", 60)
    await connections.flush()
    await SqlRegistry(store).renew(WorkerId("w1"), now=50)
    assert await store.run(end_unfinished) == 2
    assert await store.run(end_unfinished) == 0
    ends = {row.id: (row.ended, row.reason) for row in await connections.recent(10)}
    assert ends == {"ended": (6, "gone"), "open": (50, STOPPED), "newest": (60, STOPPED)}


async def test_prune_forgets_rows_that_ended_long_ago(connections: ConnectionRows) -> None:
    for name in ("old", "new", "open"):
        start(connections, name, 1)
    connections.connection_ended(ConnectionId("old"), "gone", 0, 0, 10)
    connections.connection_ended(ConnectionId("new"), "gone", 0, 0, 20)
    await connections.flush()
    assert await connections.prune(20) == 1
    assert {row.id for row in await connections.recent(10)} == {"new", "open"}


async def test_what_a_machine_calls_itself_last_is_kept(store: Store, connections: ConnectionRows) -> None:
    ann = await IdentityStore(store).identity_for_key(Fingerprint("SHA256:ann"), "ssh-ed25519", "ann", 10)
    for host in ("desk", "desk.example"):
        connections.host_told(ann.id, host)
    connections.host_told(IdentityId("gone"), "elsewhere")
    await connections.flush()
    known = await MachineStore(store).known()
    assert {machine.host for machine in known.machines.values()} == {"desk.example"}
