"""The operator enters, replaces and forgets keys: names and ports follow, and nothing is half done."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from ferry.errors import InvalidInput
from ferry.names import Address, ConnectionId, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import NEVER, Claimed, Taken, Terms
from ferry.report import no_report
from ferry.store.connections import ConnectionRows
from ferry.store.engine import Store
from ferry.store.identities import IdentityStore
from ferry.store.machines import Known, KnownKey, Machine, MachineStore, NewKey, Wanted
from ferry.store.registry import SqlRegistry

TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=9)
BLOG = Address(Kind.HTTP, "blog.example.com")
W1 = WorkerId("w1")
A, B, C = (Fingerprint(f"SHA256:{mark}") for mark in "abc")


def new(key: Fingerprint) -> NewKey:
    return NewKey(key, "ssh-ed25519")


def ssh(*taken: int, label: str = "ssh", last: int = 21003) -> list[Wanted]:
    return [Wanted(label, 21000, last, frozenset(taken))]


def port(number: int) -> Address:
    return Address(Kind.TCP, "", number)


class House:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.machines = MachineStore(store)
        self.identities = IdentityStore(store)
        self.registry = SqlRegistry(store)

    async def log_in(self, key: Fingerprint, name: str | None = None, now: float = 10) -> Identity:
        return await self.identities.identity_for_key(key, "ssh-ed25519", name, now)

    async def claim(self, address: Address, who: Identity, now: float = 10) -> Claimed | Taken:
        return await self.registry.claim(address, who, W1, now=now, terms=TERMS)

    async def owns(self, who: Identity) -> list[Address]:
        return [one.address for one in await self.registry.reservations(who.id)]


@pytest.fixture(name="house")
async def opened(tmp_path: Path) -> AsyncIterator[House]:
    async with await Store.open(tmp_path / "machines.db", report=no_report) as store:
        yield House(store)


async def test_a_port_is_given_before_the_first_log_in_and_is_that_keys(house: House) -> None:
    assert await house.machines.enrol("web-1", new(A), ssh(21000), 5) == {"ssh": 21001}
    known = await house.machines.known()
    web_1 = known.keys[A].identity
    assert (known.keys[A].last_seen, known.machines[web_1].name) == (None, "web-1")
    assert [known.identity_of(A, name) for name in (None, "web-1", "web-2")] == [web_1, web_1, None]
    assert [known.identity_of(B, name) for name in (None, "web-1")] == [None, web_1]
    (given,) = await house.registry.reservations(None)
    assert (given.label, given.last_used, given.used, given.owner_name) == ("ssh", NEVER, False, "web-1 (SHA256:a)")
    assert isinstance(await house.claim(port(21001), await house.log_in(B)), Taken)
    owner = await house.log_in(A, "web-1", now=20)
    assert (await house.machines.known()).keys[A].last_seen == 20
    assert isinstance(await house.claim(port(21001), owner), Claimed)
    known = await house.machines.known()
    assert known.identity_of(A, None) == web_1, "its only key"
    await house.log_in(C, "web-1", now=30)
    known = await house.machines.known()
    assert [known.identity_of(key, None) for key in (A, C)] == [None, None], "which a log-in without a name leaves"
    assert await house.registry.prune(now=1e9, keep=1, rest=1) == 0


@pytest.mark.parametrize(("entered", "name"), [(True, "web-1"), (False, None)])
def test_a_line_without_a_name_keeps_what_was_entered_or_has_no_name(entered: bool, name: str | None) -> None:
    """Also of an identity with several keys."""
    owner = IdentityId("i1")
    keys = {key: KnownKey(owner, 1.0, entered=entered) for key in (A, B)}
    assert Known({owner: Machine(name, None)}, keys, {}).identity_of(A, None) == owner


async def test_asked_again_it_gives_the_same_ports_and_another_label_another_port(house: House) -> None:
    wanted = [*ssh(), *ssh(label="ssh:second")]
    first = await house.machines.enrol("web-1", new(A), wanted, 5)
    assert first == {"ssh": 21000, "ssh:second": 21001}
    assert await house.machines.enrol("web-1", new(A), wanted, 6) == first
    assert await house.machines.enrol("web-2", new(B), ssh(), 6) == {"ssh": 21002}


async def test_a_port_that_it_uses_already_is_the_one_that_it_gets(house: House) -> None:
    who = await house.log_in(A)
    await house.claim(port(21002), who)
    assert await house.machines.enrol("web-1", new(A), ssh(), 12) == {"ssh": 21002}
    assert await house.owns(who) == [port(21002)]
    assert (await house.log_in(A, "web-1")).id == who.id


async def test_an_alias_and_a_port_outside_the_range_are_not_the_port_of_a_purpose(house: House) -> None:
    who = await house.log_in(A)
    for address in (port(30042), Address(Kind.ALIAS, "laptop", 21002)):
        await house.claim(address, who)
    assert await house.machines.enrol("web-1", new(A), ssh(), 12) == {"ssh": 21000}


async def test_where_all_ports_are_taken_nothing_changes(house: House) -> None:
    await house.claim(port(21001), await house.log_in(B))
    with pytest.raises(InvalidInput, match=r"all ports of ssh \(21000 to 21001\) are taken: give one back with"):
        await house.machines.enrol("web-1", new(A), ssh(21000, last=21001), 5)
    assert set((await house.machines.known()).keys) == {B}


@pytest.mark.parametrize("name", ["web-1", None])
async def test_a_new_key_has_the_names_ports_and_history_of_the_old_one(house: House, name: str | None) -> None:
    owner = await house.log_in(A, name)
    await house.claim(BLOG, owner)
    await house.claim(port(21000), owner)
    for _ in range(2):  # what a crash between the database and the file leaves is ended by the same command
        done = await house.machines.replace(A, name, new(B), 20)
    assert [one.address for one in done.held] == [BLOG, port(21000)]
    assert set((await house.machines.known()).keys) == {B}
    after = await house.log_in(B, name, now=30)
    assert after.id == owner.id
    assert {one.owner_name for one in await house.registry.reservations(owner.id)} == {str(after)}
    assert (await house.log_in(A)).id != owner.id


async def test_a_new_key_that_was_here_before_brings_its_own(house: House) -> None:
    owner, other = await house.log_in(A, "web-1"), await house.log_in(B)
    await house.claim(BLOG, owner)
    await house.claim(port(21000), other)
    connections = ConnectionRows(house.store, no_report)
    connections.connection_started(ConnectionId("c1"), other, "192.0.2.7:1", "OpenSSH", 10)
    await connections.flush()
    await house.machines.replace(A, "web-1", new(B), 20)
    assert await house.owns(owner) == [BLOG, port(21000)]
    assert [row.identity for row in await connections.recent(9)] == [owner.id]
    assert list((await house.machines.known()).machines) == [owner.id]


@pytest.mark.parametrize("entered", [True, False])
async def test_a_line_without_a_name_leaves_the_identity_the_name_that_it_was_entered_for(
    house: House, entered: bool
) -> None:
    await house.machines.enrol("web-1", new(A)._replace(entered=entered), ssh(), 5)
    if not entered:
        await house.log_in(A, "web-1")
    name = "web-1" if entered else None
    assert (await house.machines.replace(A, None, new(B), 20)).name == name
    owner = await house.log_in(B)
    assert (owner.name, owner.entered, await house.owns(owner)) == (name, entered, [port(21000)])


async def test_a_line_with_another_name_gives_the_identity_that_name(house: House) -> None:
    owner = await house.log_in(A, "web-1")
    assert (await house.machines.replace(A, "web-2", new(B), 20)).name == "web-2"
    assert await house.log_in(B, "web-2") == replace(owner, fingerprint=B, name="web-2")


async def test_a_key_of_somebody_else_replaces_nothing(house: House) -> None:
    await house.log_in(A, "web-1")
    await house.log_in(B, "web-2")
    with pytest.raises(InvalidInput, match="the new key is one of web-2: `ferry keys remove SHA256:b`"):
        await house.machines.replace(A, "web-1", new(B), 20)
    assert set((await house.machines.known()).keys) == {A, B}


@pytest.mark.parametrize("keep", [True, False])
async def test_a_forgotten_key_gives_back_what_it_has_unless_that_is_kept(house: House, keep: bool) -> None:
    await house.machines.enrol("web-1", new(A), ssh(), 5)
    held = await house.machines.forget([A], "web-1", keep=keep)
    assert held is not None
    assert [(one.address, one.label) for one in held] == [(port(21000), "ssh")]
    assert len(await house.registry.reservations(None)) == int(keep)
    assert isinstance(await house.claim(port(21000), await house.log_in(B)), Taken if keep else Claimed)
    back = await house.log_in(A, "web-1")
    assert await house.owns(back) == ([port(21000)] if keep else [])


async def test_an_identity_with_another_key_keeps_all(house: House) -> None:
    owner = await house.log_in(A, "ann")
    await house.log_in(B, "ann")
    await house.claim(BLOG, owner)
    assert await house.machines.forget([A], None, keep=False) is None
    assert await house.owns(owner) == [BLOG]
    for key, name in ((C, None), (C, "ben"), (A, "ben")):
        assert await house.machines.forget([key], name, keep=False) == []
    assert await house.machines.forget([C], "ann", keep=False) is None  # the line's name has a key
    assert await house.owns(owner) == [BLOG]
