"""The writes of a start come before all others, also if they are delayed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection

import pytest

from ferry.names import Address, ConnectionId, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, StoreUnavailable, Terms
from ferry.report import no_report
from ferry.store.connections import STOPPED, ConnectionRows
from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry
from ferry.store.secrets import SecretStore
from ferry.store.start import begin
from store.secret_rows import names, put

ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
BLOG = Address(Kind.HTTP, "blog.example.com")
OLD, NEW = WorkerId("old"), WorkerId("new")
TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=9)


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
async def store(tmp_path: Path, events: list[str]) -> AsyncIterator[Store]:
    def report(event: str, /, **_fields: object) -> None:
        events.append(event)

    async with await Store.open(tmp_path / "ferry.db", report=report) as opened:
        yield opened


async def full(store: Store) -> None:
    """From now on the file does not grow. What a test writes is large, for there are free bytes in its pages."""
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1").close())


async def room(store: Store) -> None:
    """Now it takes them again."""
    await store.run(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").close())


async def test_until_it_is_written_everything_else_only_reads(store: Store, events: list[str]) -> None:
    await full(store)
    assert not await store.first(lambda connection: put(connection, "first", 1_000_000))
    assert (store.healthy, events) == (False, ["store.failed"])
    with pytest.raises(StoreUnavailable) as caught:  # there would be room for this one
        await store.run(lambda connection: put(connection, "small"))
    assert (caught.value.readable, caught.value.public) == (True, "the gateway's disk is full")
    assert await store.run(names) == set()
    await room(store)
    await store.run(lambda connection: put(connection, "small"))
    assert await store.run(names) == {"first", "small"}
    assert (store.healthy, events) == (True, ["store.failed", "store.recovered"])


async def test_reads_are_answered_before_the_writes_of_the_start(store: Store) -> None:
    await full(store)
    assert not await store.first(lambda connection: put(connection, "first", 1_000_000))
    answers = await asyncio.gather(
        *(store.run(transaction) for _ in range(5) for transaction in (names, lambda connection: put(connection, "x"))),
        return_exceptions=True,
    )
    assert answers[::2] == [set()] * 5
    assert [type(answer) for answer in answers[1::2]] == [StoreUnavailable] * 5


async def test_a_corrupt_database_does_not_count_as_readable(store: Store) -> None:
    def corrupt(_connection: Connection) -> None:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    await full(store)
    assert not await store.first(lambda connection: put(connection, "first", 1_000_000))
    with pytest.raises(StoreUnavailable, match="malformed") as caught:
        await store.run(corrupt)
    assert not caught.value.readable


async def test_a_database_that_is_locked_is_none_that_takes_no_writes(tmp_path: Path) -> None:
    """Who starts beside another writer must not serve as on a full disk: it would end what the other has begun."""
    async with await Store.open(tmp_path / "ferry.db", report=no_report, busy_seconds=0.01) as store:
        made = await SecretStore(store).secret("names")
        with closing(sqlite3.connect(tmp_path / "ferry.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked") as caught:
                await store.first(lambda connection: put(connection, "first"))
            assert not caught.value.readable
            with pytest.raises(StoreUnavailable, match="locked"):
                await SecretStore(store).secret("names")
        assert await SecretStore(store).secret("names") == made
        assert await store.run(names) == {"first", "names"}


async def test_the_writes_of_a_start_are_done_once_and_in_order(store: Store) -> None:
    assert await store.first(lambda connection: put(connection, "one"))
    assert await store.first(lambda connection: connection.execute("UPDATE secrets SET name = 'two'").close())
    await store.run(lambda connection: put(connection, "one"))
    assert await store.run(names) == {"one", "two"}


async def test_a_write_that_fails_by_itself_is_an_error_and_not_a_full_disk(store: Store) -> None:
    with pytest.raises(StoreUnavailable, match="what a start writes has failed: ZeroDivisionError") as caught:
        await store.first(lambda _: 1 // 0)
    assert not caught.value.readable


async def test_rows_that_a_crash_left_open_are_ended_before_new_ones_begin(store: Store) -> None:
    registry, connections = SqlRegistry(store), ConnectionRows(store, lambda _event, /, **_fields: None)
    claimed = await registry.claim(BLOG, ANN, OLD, now=10, terms=TERMS)
    assert isinstance(claimed, Claimed)
    assert await begin(store, OLD, now=40)
    claimed = await registry.claim(BLOG, ANN, OLD, now=45, terms=TERMS)
    assert isinstance(claimed, Claimed)
    await registry.renew(OLD, now=50)
    connections.connection_started(ConnectionId("before"), ANN, "192.0.2.7:1", "v", 20)
    await connections.flush()
    await full(store)
    await store.first(lambda connection: put(connection, "large", 1_000_000))
    assert not await begin(store, NEW, now=90)
    connections.connection_started(ConnectionId("after"), ANN, "192.0.2.7:1", "v", 95)
    with pytest.raises(StoreUnavailable):
        await connections.flush()
    assert await registry.lookup(BLOG) == claimed.lease  # it is still there, and is still Ann's
    await room(store)
    await connections.flush()
    rows = {row.id: (row.ended, row.reason) for row in await connections.recent(9)}
    assert rows == {"before": (50, STOPPED), "after": (None, None)}
    assert await registry.lookup(BLOG) is None
    [kept] = await registry.reservations(ANN.id)
    assert kept.last_used == 90
    assert isinstance(await registry.claim(BLOG, ANN, NEW, now=100, terms=TERMS), Claimed)


async def test_secrets_and_host_keys_are_remembered_as_soon_as_they_can_be(store: Store) -> None:
    secrets = SecretStore(store)
    await full(store)
    await store.first(lambda connection: put(connection, "large", 1_000_000))
    made = await secrets.secret("names")
    await secrets.remember_host_key("ssh-rsa", Fingerprint("SHA256:key"))
    assert await store.run(names) == set()
    await room(store)
    assert await secrets.secret("names") == made
    assert await secrets.host_key_fingerprint("ssh-rsa") == "SHA256:key"
