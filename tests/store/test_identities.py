"""Keys get identities and move between them, and never lose a reservation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection
from typing import cast

import pytest

from ferry.names import Address, ConnectionId, Fingerprint, Identity, Kind, WorkerId
from ferry.registry.contract import Claimed, StoreUnavailable, Terms
from ferry.report import no_report
from ferry.store.connections import ConnectionRows
from ferry.store.engine import Store
from ferry.store.identities import IdentityStore
from ferry.store.machines import MachineStore, NewKey
from ferry.store.registry import SqlRegistry

BLOG = Address(Kind.HTTP, "blog.example.com")
SHOP = Address(Kind.HTTP, "shop.example.com")
TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=9)
W1 = WorkerId("w1")


class House:
    """A store with what the tests ask of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.identities = IdentityStore(store)
        self.registry = SqlRegistry(store)

    async def key(self, mark: str, name: str | None = None, now: float = 10) -> Identity:
        return await self.identities.identity_for_key(Fingerprint(f"SHA256:{mark}"), "ssh-ed25519", name, now)

    async def owns(self, identity: Identity) -> list[Address]:
        return [reservation.address for reservation in await self.registry.reservations(identity.id)]

    async def claim(self, address: Address, identity: Identity) -> Claimed:
        answer = await self.registry.claim(address, identity, W1, now=10, terms=TERMS)
        assert isinstance(answer, Claimed), answer
        return answer


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        yield House(store)


async def test_a_new_key_is_an_identity_of_its_own_and_stays_it(house: House) -> None:
    one, other = await house.key("a"), await house.key("b")
    assert one.id != other.id
    assert (one.name, one.fingerprint, one.anonymous) == (None, "SHA256:a", False)
    assert await house.key("a", now=20) == one


async def test_first_and_last_seen(house: House) -> None:
    await house.key("a", now=10)
    await house.key("a", now=30)
    query = "SELECT algorithm, first_seen, last_seen FROM keys"
    row = await house.store.run(lambda connection: connection.execute(query).fetchone())
    assert row == ("ssh-ed25519", 10, 30)


async def test_equal_names_are_one_identity(house: House) -> None:
    one, other = await house.key("a", "web-1"), await house.key("b", "web-1")
    assert one.id == other.id
    assert (one.name, other.fingerprint) == ("web-1", "SHA256:b")
    assert (await house.key("c", "web-2")).id != one.id


async def test_a_key_that_gets_a_name_keeps_its_reservations(house: House) -> None:
    before = await house.key("a")
    await house.claim(BLOG, before)
    after = await house.key("a", "web-1")
    assert after.id == before.id
    assert after.name == "web-1"
    assert await house.owns(after) == [BLOG]


async def test_a_key_that_joins_a_name_brings_its_reservations(house: House) -> None:
    named, lone = await house.key("a", "web-1"), await house.key("b")
    await house.claim(BLOG, lone)
    history = ConnectionRows(house.store, no_report)
    history.connection_started(ConnectionId("c1"), lone, "192.0.2.7:1", "OpenSSH", 10)
    await history.flush()
    joined = await house.key("b", "web-1")
    assert joined.id == named.id
    assert [row.identity for row in await history.recent(9)] == [named.id]
    assert await house.owns(named) == [BLOG]
    # What it served when it was still alone is taken over, not refused.
    assert (await house.claim(BLOG, joined)).displaced is not None


async def test_addresses_of_other_keys_of_an_identity_stay_with_them(house: House) -> None:
    first = await house.key("a", "web-1")
    await house.key("b", "web-1")
    await house.claim(BLOG, first)
    moved = await house.key("b", "web-2")
    assert moved.id != first.id
    assert await house.owns(moved) == []
    assert await house.owns(first) == [BLOG]
    last = await house.key("a", "web-2")
    assert last.id == moved.id
    assert await house.owns(last) == [BLOG]


async def test_an_identity_is_renamed_with_its_only_key(house: House) -> None:
    before = await house.key("a", "web-1")
    await house.claim(BLOG, before)
    after = await house.key("a", "web-2")
    assert (after.id, after.name) == (before.id, "web-2")
    assert (await house.key("b", "web-1")).id != before.id


async def test_the_only_key_of_a_name_that_loses_it_keeps_its_identity(house: House) -> None:
    named = await house.key("a", "web-1")
    await house.claim(BLOG, named)
    bare = await house.key("a")
    assert bare == replace(named, name=None)
    assert await house.owns(bare) == [BLOG]
    assert await house.key("a", "web-1") == named


async def test_one_of_several_keys_of_a_name_that_loses_it_is_an_identity_of_its_own(house: House) -> None:
    named = await house.key("a", "web-1")
    await house.key("b", "web-1")
    await house.claim(BLOG, named)
    bare = await house.key("b")
    assert (bare.name, await house.owns(bare)) == (None, [])
    assert (await house.key("a", "web-1"), await house.owns(named)) == (named, [BLOG])
    assert (await house.key("b", "web-1")).id == named.id


async def test_a_line_that_says_the_name_ends_the_entry_of_the_key(house: House) -> None:
    key = NewKey(Fingerprint("SHA256:a"), "ssh-ed25519", entered=True)
    await MachineStore(house.store).enrol("web-1", key, [], 5)
    assert (await house.key("a")).name == "web-1"
    assert (await house.key("a", "web-1")).name == "web-1"
    assert (await house.key("a")).name is None


async def test_many_first_logins_at_once_make_one_identity(house: House) -> None:
    found = await asyncio.gather(*(house.key(f"k{n % 5}", "web-1") for n in range(50)))
    assert len({identity.id for identity in found}) == 1
    found = await asyncio.gather(*(house.key("same") for _ in range(50)))
    assert len({identity.id for identity in found}) == 1


async def test_prune_forgets_strangers_only(house: House) -> None:
    await house.key("stranger")
    named = await house.key("named", "web-1")
    owner, server, recent = await house.key("owner"), await house.key("server"), await house.key("recent", now=100)
    await house.claim(BLOG, owner)
    await house.claim(SHOP, server)
    await house.registry.free(SHOP, server.id)
    assert await house.identities.prune(50) == 1
    assert await house.identities.prune(50) == 0
    for mark, identity in (("named", named), ("owner", owner), ("server", server), ("recent", recent)):
        assert (await house.key(mark)).id == identity.id


def full_for_keys(connection: Connection) -> None:
    """Whatever is written about keys needs more pages than there may be: SQLITE_FULL, as on a full disk."""
    connection.execute("PRAGMA max_page_count = 1")
    for what in ("INSERT", "UPDATE"):
        much = "INSERT INTO secrets VALUES ('big', zeroblob(1000000))"
        connection.execute(f"CREATE TEMP TRIGGER full_{what} BEFORE {what} ON keys BEGIN {much}; END")


async def test_a_known_key_is_known_while_nothing_can_be_written(house: House) -> None:
    entered = NewKey(Fingerprint("SHA256:cleo"), "ssh-ed25519", entered=True)
    await MachineStore(house.store).enrol("cleo", entered, [], 5)
    ann, bob, cleo = await house.key("ann", "ann"), await house.key("bob"), await house.key("cleo")
    await house.store.run(full_for_keys)
    assert [await house.key("ann", "ann", 20), await house.key("bob", None, 20)] == [ann, bob]
    assert await house.key("cleo", None, 20) == cleo
    for mark, name in (("new", None), ("bob", "robert"), ("cleo", "other"), ("ann", None)):
        with pytest.raises(StoreUnavailable):
            await house.key(mark, name, 20)


async def test_a_log_in_waits_once_for_an_unreadable_database() -> None:
    """A busy database is waited for, five seconds as shipped."""
    asked: list[object] = []

    class Busy:
        async def run(self, transaction: object) -> None:
            asked.append(transaction)
            raise StoreUnavailable("database is locked")

    with pytest.raises(StoreUnavailable):
        await IdentityStore(cast(Store, Busy())).identity_for_key(Fingerprint("SHA256:a"), "ssh-ed25519", None, 10)
    assert len(asked) == 1
