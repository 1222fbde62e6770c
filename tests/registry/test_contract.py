"""The contract of every registry engine. A new engine joins `Engine` and `_ENGINES`, and is done when this file
passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from durable_registry import DurableRegistry
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Claimed, Registry, Taken, TakenBy, Terms
from ferry.report import no_report
from ferry.store.engine import Store
from memory_registry import MemoryRegistry
from turns import turns

Engine: TypeAlias = MemoryRegistry | DurableRegistry

BLOG = Address(Kind.HTTP, "blog.example.com")
PORT = Address(Kind.TCP, "", 30042)
ALIAS = Address(Kind.ALIAS, "laptop", 22)
W1, W2 = WorkerId("w1"), WorkerId("w2")
KEEP, REST = 100.0, 50.0
LONG = 10_000.0  # used names are kept longer than unused ones
HOUR = 3600.0
TERMS = Terms(keep=KEEP, rest=REST, reserve=True, derived=False, max_reservations=3)
TRIAL = replace(TERMS, reserve=False)


def person(name: str) -> Identity:
    return Identity(IdentityId(name), None, Fingerprint(f"SHA256:{name}"))


ANN, BOB = person("ann"), person("bob")


@asynccontextmanager
async def _memory(_path: Path) -> AsyncIterator[Engine]:
    yield MemoryRegistry()


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncIterator[Engine]:
    async with await Store.open(path / "ferry.db", report=no_report) as store:
        yield DurableRegistry(store)


_ENGINES = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=_ENGINES)
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with _ENGINES[request.param](tmp_path) as engine:
        yield engine


async def won(
    registry: Registry, address: Address, who: Identity, now: float, terms: Terms = TERMS, worker: WorkerId = W1
) -> Claimed:
    assert await registry.would_refuse(address, who, now=now, terms=terms) is None
    answer = await registry.claim(address, who, worker, now=now, terms=terms)
    assert isinstance(answer, Claimed), answer
    return answer


async def lost(registry: Registry, address: Address, who: Identity, now: float, terms: Terms = TERMS) -> Taken:
    would = await registry.would_refuse(address, who, now=now, terms=terms)
    answer = await registry.claim(address, who, W1, now=now, terms=terms)
    assert isinstance(answer, Taken), answer
    assert answer == would
    return answer


@pytest.mark.parametrize("address", [BLOG, PORT, ALIAS], ids=str)
async def test_first_claim_reserves_and_is_found(registry: Registry, address: Address) -> None:
    claimed = await won(registry, address, ANN, 10)
    assert (claimed.displaced, claimed.reserved, claimed.new) == (None, True, True)
    lease = await registry.lookup(address)
    assert lease == claimed.lease
    assert (lease.address, lease.owner, lease.worker, lease.claimed) == (address, ANN.id, W1, 10)
    assert lease.owner_name == "SHA256:ann"
    reservation = await registry.reservation(address, now=10, keep=KEEP)
    assert reservation is not None
    assert (reservation.address, reservation.owner, reservation.owner_name) == (address, ANN.id, "SHA256:ann")
    assert (reservation.derived, reservation.created, reservation.last_used) == (False, 10, 10)


async def test_an_unclaimed_address_has_no_state(registry: Registry) -> None:
    assert await registry.lookup(BLOG) is None
    assert await registry.reservation(BLOG, now=1, keep=KEEP) is None
    assert await registry.reservations(ANN.id) == []
    assert not await registry.release(BLOG, 1, now=1)
    assert not await registry.reserve(BLOG, 1, now=1, terms=TERMS)
    assert not await registry.free(BLOG, ANN.id)


async def test_what_a_claim_would_get_changes_nothing(registry: Registry) -> None:
    assert await registry.would_refuse(BLOG, ANN, now=10, terms=TERMS) is None
    assert (await registry.lookup(BLOG), await registry.reservations(None)) == (None, [])
    claimed = await won(registry, BLOG, ANN, 10)
    again = replace(TERMS, label="web")
    assert await registry.would_refuse(BLOG, ANN, now=90, terms=again) is None
    assert await registry.lookup(BLOG) == claimed.lease
    [mine] = await registry.reservations(None)
    assert (mine.last_used, mine.label) == (10, None)


async def test_the_same_identity_takes_over_at_once(registry: Registry) -> None:
    first = await won(registry, BLOG, ANN, 10)
    second = await won(registry, BLOG, ANN, 11, worker=W2)
    assert (second.displaced, second.reserved, second.new) == (first.lease, True, False)
    assert second.lease.generation > first.lease.generation
    assert await registry.lookup(BLOG) == second.lease


async def test_an_older_holder_can_not_end_the_newer_lease(registry: Registry) -> None:
    first = await won(registry, BLOG, ANN, 10)
    second = await won(registry, BLOG, ANN, 11)
    assert not await registry.release(BLOG, first.lease.generation, now=12)
    assert await registry.lookup(BLOG) == second.lease
    assert await registry.release(BLOG, second.lease.generation, now=12)
    assert await registry.lookup(BLOG) is None


async def test_another_identity_is_refused_while_it_is_reserved(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 10)
    assert await lost(registry, BLOG, BOB, 11) == Taken(TakenBy.RESERVED, ANN.id, "SHA256:ann", None)
    assert await registry.release(BLOG, claimed.lease.generation, now=20)
    assert (await lost(registry, BLOG, BOB, 20 + KEEP)).reason is TakenBy.RESERVED


async def test_another_identity_is_refused_while_it_is_served_without_reservation(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 10, TRIAL)
    assert (claimed.reserved, claimed.new) == (False, False)
    assert await lost(registry, BLOG, BOB, 11) == Taken(TakenBy.LIVE, ANN.id, "SHA256:ann", None)
    assert await registry.release(BLOG, claimed.lease.generation, now=12)
    await won(registry, BLOG, BOB, 12)


async def test_the_reservation_of_an_address_that_is_served_does_not_run_out(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10)
    late = 10 + KEEP + REST + 1
    assert await registry.reservation(BLOG, now=late, keep=KEEP) is not None
    assert (await lost(registry, BLOG, BOB, late)).reason is TakenBy.RESERVED


async def test_a_reservation_that_ran_out_rests_for_all_but_its_last_owner(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 0)
    await registry.release(BLOG, claimed.lease.generation, now=10)
    assert await registry.reservation(BLOG, now=10 + KEEP, keep=KEEP) is not None
    assert await registry.reservation(BLOG, now=10 + KEEP + 1, keep=KEEP) is None
    resting = await lost(registry, BLOG, BOB, 10 + KEEP + 1)
    assert resting == Taken(TakenBy.RESTING, ANN.id, "SHA256:ann", 10 + KEEP + REST)
    # The last owner asks: it is theirs again at once, even where new names are on trial first.
    assert (await won(registry, BLOG, ANN, 10 + KEEP + 2, TRIAL)).reserved
    assert (await lost(registry, BLOG, BOB, 10 + KEEP + 3)).reason is TakenBy.RESERVED


@pytest.mark.parametrize("terms", [TERMS, TRIAL], ids=["reserved", "trial"])
async def test_after_its_rest_an_address_is_free_for_all(registry: Registry, terms: Terms) -> None:
    claimed = await won(registry, BLOG, ANN, 0)
    await registry.release(BLOG, claimed.lease.generation, now=0)
    over = KEEP + REST
    assert (await lost(registry, BLOG, BOB, over - 1, terms)).reason is TakenBy.RESTING
    await won(registry, BLOG, BOB, over, terms)
    assert await registry.reservations(ANN.id) == []
    expected = TakenBy.RESERVED if terms.reserve else TakenBy.LIVE
    assert (await lost(registry, BLOG, ANN, over)).reason is expected


async def test_an_address_that_the_operator_gives_to_another_goes_to_that_one_once_it_is_not_served(
    registry: Registry,
) -> None:
    given = replace(TERMS, given=True, label="ssh")
    first = await won(registry, PORT, ANN, 10, replace(TERMS, label="ssh"))
    assert (await lost(registry, PORT, BOB, 20, given)).reason is TakenBy.LIVE
    await registry.release(PORT, first.lease.generation, now=30)
    assert (await lost(registry, PORT, BOB, 40)).reason is TakenBy.RESERVED
    assert (await lost(registry, PORT, BOB, 40, replace(given, max_reservations=0))).reason is TakenBy.OVER_LIMIT
    second = await won(registry, PORT, BOB, 40, given)
    assert (second.displaced, second.new) == (None, True)
    assert [one.owner for one in await registry.reservations(None)] == [BOB.id]
    assert (await lost(registry, PORT, ANN, 50)).reason is TakenBy.RESERVED


async def left(registry: Registry, now: float, *, used: bool) -> None:
    """Ann has claimed `BLOG`, and given it up at `now`."""
    claimed = await won(registry, BLOG, ANN, now - 10, replace(TERMS, keep=LONG))
    assert await registry.release(BLOG, claimed.lease.generation, now=now, used=used)


async def kept(registry: Registry, now: float) -> bool:
    return await registry.reservation(BLOG, now=now, keep=LONG) is not None


async def test_a_name_that_was_never_used_is_kept_for_an_hour_and_then_rests_like_any(registry: Registry) -> None:
    terms = replace(TERMS, keep=LONG)
    await left(registry, 10, used=False)
    [found] = await registry.reservations(ANN.id)
    assert (found.used, found.last_used) == (False, 10)
    assert await kept(registry, 10 + HOUR)
    assert not await kept(registry, 10 + HOUR + 1)
    resting = await lost(registry, BLOG, BOB, 10 + HOUR + 1, terms)
    assert resting == Taken(TakenBy.RESTING, ANN.id, "SHA256:ann", 10 + HOUR + REST)
    await won(registry, BLOG, BOB, 10 + HOUR + REST, terms)


async def test_a_name_that_was_used_once_stays_used(registry: Registry) -> None:
    await left(registry, 10, used=True)
    await left(registry, 30, used=False)
    [found] = await registry.reservations(ANN.id)
    assert found.used
    assert await kept(registry, 30 + LONG)


async def test_an_unused_name_is_kept_no_longer_than_a_used_one(registry: Registry) -> None:
    await left(registry, 10, used=False)
    assert await registry.reservation(BLOG, now=10 + KEEP, keep=KEEP) is not None
    assert await registry.reservation(BLOG, now=10 + KEEP + 1, keep=KEEP) is None


@pytest.mark.parametrize("how", ["takeover", "crash", "trial"])
async def test_a_takeover_a_hidden_end_and_a_trial_count_as_use(registry: Registry, how: str) -> None:
    claimed = await won(registry, BLOG, ANN, 10, TRIAL if how == "trial" else TERMS)
    match how:
        case "takeover":
            claimed = await won(registry, BLOG, ANN, 11)
        case "crash":
            assert await registry.retire(None, now=12) == 1
        case _:
            assert await registry.reserve(BLOG, claimed.lease.generation, now=11, terms=TERMS)
    await registry.release(BLOG, claimed.lease.generation, now=12, used=False)
    assert [found.used for found in await registry.reservations(ANN.id)] == [True]


async def test_a_heartbeat_is_no_use(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10)
    await registry.renew(W1, now=11)
    assert [(found.used, found.last_used) for found in await registry.reservations(ANN.id)] == [(False, 11)]


async def test_an_older_generation_makes_no_name_used(registry: Registry) -> None:
    first = await won(registry, BLOG, ANN, 10)
    assert await registry.release(BLOG, first.lease.generation, now=11, used=False)
    second = await won(registry, BLOG, ANN, 12)
    assert not await registry.release(BLOG, first.lease.generation, now=13, used=True)
    assert await registry.release(BLOG, second.lease.generation, now=14, used=False)
    assert [found.used for found in await registry.reservations(ANN.id)] == [False]


async def test_unused_names_that_ran_out_do_not_count_and_are_pruned(registry: Registry) -> None:
    terms = replace(TERMS, keep=LONG, max_reservations=1)
    await left(registry, 10, used=False)
    assert (await lost(registry, PORT, ANN, 10 + HOUR, terms)).reason is TakenBy.OVER_LIMIT
    await won(registry, PORT, ANN, 10 + HOUR + 1, terms)
    assert await registry.prune(now=10 + HOUR + REST - 1, keep=LONG, rest=REST) == 0
    assert await registry.prune(now=10 + HOUR + REST, keep=LONG, rest=REST) == 1
    assert [found.address for found in await registry.reservations(None)] == [PORT]


async def test_a_claim_without_reserve_keeps_an_own_reservation(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10)
    assert (await won(registry, BLOG, ANN, 20, TRIAL)).reserved
    reservation = await registry.reservation(BLOG, now=20, keep=KEEP)
    assert reservation is not None
    assert (reservation.created, reservation.last_used) == (10, 20)


async def test_a_derived_name_becomes_a_requested_one_and_stays_so(registry: Registry) -> None:
    async def derived() -> bool:
        found = await registry.reservation(BLOG, now=10, keep=KEEP)
        assert found is not None
        return found.derived

    await won(registry, BLOG, ANN, 10, replace(TERMS, derived=True))
    assert await derived()
    await won(registry, BLOG, ANN, 10)
    assert not await derived()
    await won(registry, BLOG, ANN, 10, replace(TERMS, derived=True))
    assert not await derived()


async def test_limit_of_reservations_per_identity(registry: Registry) -> None:
    addresses = [Address(Kind.TCP, "", 30000 + n) for n in range(4)]
    for address in addresses[:3]:
        await won(registry, address, ANN, 10)
    assert await lost(registry, addresses[3], ANN, 11) == Taken(TakenBy.OVER_LIMIT, ANN.id, "SHA256:ann", None)
    assert await registry.lookup(addresses[3]) is None
    await won(registry, addresses[0], ANN, 12)  # what is reserved already is no further one
    await won(registry, addresses[3], BOB, 12)  # and another identity has its own count
    assert await registry.free(addresses[1], ANN.id)
    await won(registry, BLOG, ANN, 13)


async def test_a_resting_reservation_does_not_count_until_it_is_taken_up_again(registry: Registry) -> None:
    terms = replace(TERMS, max_reservations=1)
    first = await won(registry, PORT, ANN, 0, terms)
    await registry.release(PORT, first.lease.generation, now=0)
    await won(registry, BLOG, ANN, KEEP + 1, terms)
    for again in (terms, replace(terms, reserve=False)):  # its own, it needs no trial
        assert (await lost(registry, PORT, ANN, KEEP + 2, again)).reason is TakenBy.OVER_LIMIT
    assert await registry.free(BLOG, ANN.id)
    assert (await won(registry, PORT, ANN, KEEP + 3, terms)).reserved


async def test_reserve_after_a_trial(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 10, TRIAL)
    assert not await registry.reserve(BLOG, claimed.lease.generation + 1, now=600, terms=TERMS)
    assert await registry.reservation(BLOG, now=600, keep=KEEP) is None
    assert await registry.reserve(BLOG, claimed.lease.generation, now=600, terms=TERMS)
    reservation = await registry.reservation(BLOG, now=600, keep=KEEP)
    assert reservation is not None
    assert (reservation.owner, reservation.created, reservation.owner_name) == (ANN.id, 600, "SHA256:ann")
    assert await registry.reserve(BLOG, claimed.lease.generation, now=601, terms=TERMS)  # twice does no harm
    assert [found.created for found in await registry.reservations(ANN.id)] == [600]


async def test_reserve_after_a_trial_obeys_the_limits(registry: Registry) -> None:
    for number in range(TERMS.max_reservations):
        await won(registry, Address(Kind.TCP, "", 30000 + number), ANN, 10)
    claimed = await won(registry, BLOG, ANN, 10, TRIAL)
    assert not await registry.reserve(BLOG, claimed.lease.generation, now=11, terms=TERMS)
    assert await registry.lookup(BLOG) == claimed.lease
    roomy = replace(TERMS, max_reservations=9, network="192.0.2.0/24", max_per_network_day=0)
    assert not await registry.reserve(BLOG, claimed.lease.generation, now=11, terms=roomy)
    assert await registry.reserve(BLOG, claimed.lease.generation, now=11, terms=replace(roomy, max_per_network_day=1))


async def test_daily_limit_per_network(registry: Engine) -> None:
    here = replace(TERMS, network="192.0.2.0/24", max_per_network_day=2)
    day = 86400.0
    await won(registry, BLOG, ANN, 0, here)
    claimed = await won(registry, PORT, BOB, 10, here)
    assert await lost(registry, ALIAS, BOB, 20, here) == Taken(TakenBy.NETWORK_LIMIT, BOB.id, "SHA256:bob", day)
    # Freeing gives nothing back, what is reserved is nothing new, and another network has its own count.
    assert await registry.free(PORT, BOB.id)
    assert await registry.release(PORT, claimed.lease.generation, now=30)
    assert (await lost(registry, PORT, BOB, 30, here)).reason is TakenBy.NETWORK_LIMIT
    assert await registry.reservations_from_network("192.0.2.0/24", since=0) == 1
    assert await registry.reservations_from_network("192.0.2.0/24", since=-1) == 2
    assert await registry.reservations_from_network("198.51.100.0/24", since=-1) == 0
    await won(registry, BLOG, ANN, 40, here)
    await won(registry, PORT, BOB, 40, replace(here, network="198.51.100.0/24"))
    await won(registry, ALIAS, BOB, day, here)  # the first one is a day old


async def test_a_resting_name_taken_up_again_is_not_new_to_its_network(registry: Registry) -> None:
    here = replace(TERMS, network="192.0.2.0/24", max_per_network_day=1)
    claimed = await won(registry, BLOG, ANN, 0, here)
    await registry.release(BLOG, claimed.lease.generation, now=0)
    assert (await won(registry, BLOG, ANN, KEEP + 1, here)).reserved


async def test_free_drops_the_reservation_without_a_rest(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 10)
    assert not await registry.free(BLOG, BOB.id)
    assert await registry.free(BLOG, ANN.id)
    assert (await lost(registry, BLOG, BOB, 11)).reason is TakenBy.LIVE  # its tunnel is still there
    assert await registry.lookup(BLOG) == claimed.lease
    await registry.release(BLOG, claimed.lease.generation, now=12)
    await won(registry, BLOG, BOB, 12)


async def test_undo_takes_back_the_lease_and_the_reservation_that_a_claim_made(registry: Engine) -> None:
    claimed = await won(registry, BLOG, ANN, 10, replace(TERMS, network="192.0.2.0/24"))
    assert not await registry.undo(BLOG, claimed.lease.generation + 1)
    assert await registry.lookup(BLOG) == claimed.lease
    assert await registry.undo(BLOG, claimed.lease.generation)
    assert await registry.lookup(BLOG) is None
    assert await registry.reservations(None) == []
    assert not await registry.undo(BLOG, claimed.lease.generation)
    assert await registry.reservations_from_network("192.0.2.0/24", since=0) == 1
    await won(registry, BLOG, BOB, 11)


async def test_undo_of_one_claim_leaves_a_newer_one_of_the_same_identity_alone(registry: Registry) -> None:
    first = await won(registry, BLOG, ANN, 10)
    second = await won(registry, BLOG, ANN, 11)
    assert not await registry.undo(BLOG, first.lease.generation)
    assert await registry.lookup(BLOG) == second.lease
    assert await registry.release(BLOG, second.lease.generation, now=12)
    assert not await registry.undo(BLOG, first.lease.generation)
    assert (await lost(registry, BLOG, BOB, 13)).reason is TakenBy.RESERVED


async def test_undo_leaves_a_reservation_of_another_identity(registry: Registry) -> None:
    """Its own was freed meanwhile: there is a lease without one."""
    claimed = await won(registry, BLOG, ANN, 10)
    await registry.free(BLOG, ANN.id)
    assert not await registry.undo(BLOG, claimed.lease.generation)
    assert await registry.lookup(BLOG) is None


async def test_reservations_are_listed_oldest_first(registry: Registry) -> None:
    await won(registry, PORT, ANN, 20)
    await won(registry, BLOG, ANN, 10)
    await won(registry, ALIAS, BOB, 5)
    assert [r.address for r in await registry.reservations(ANN.id)] == [BLOG, PORT]
    assert [r.address for r in await registry.reservations(None)] == [ALIAS, BLOG, PORT]


async def test_renew_keeps_only_addresses_that_the_worker_serves(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10, worker=W1)
    await won(registry, PORT, ANN, 10, worker=W2)
    unserved = await won(registry, ALIAS, ANN, 10, worker=W1)
    await registry.release(ALIAS, unserved.lease.generation, now=11)
    for now in (50.0, 90.0):
        await registry.renew(W1, now=now)
    used = {r.address: r.last_used for r in await registry.reservations(ANN.id)}
    assert used == {BLOG: 90, PORT: 10, ALIAS: 11}


async def test_renew_does_not_keep_a_freed_address_of_another_holder(registry: Registry) -> None:
    claimed = await won(registry, BLOG, ANN, 10, worker=W1)
    await registry.free(BLOG, ANN.id)
    await registry.renew(W1, now=20)
    assert await registry.reservation(BLOG, now=20, keep=KEEP) is None
    assert await registry.lookup(BLOG) == claimed.lease


@pytest.mark.parametrize("how", ["claim", "renew", "release", "retire"])
async def test_a_clock_that_was_set_back_makes_no_use_older(registry: Registry, how: str) -> None:
    """A board without a battery starts in 1970, and its gateway before the clock is set."""
    now = 1_800_000_000.0
    claimed = await won(registry, BLOG, ANN, now)
    match how:
        case "claim":
            await won(registry, BLOG, ANN, 10)
        case "renew":
            await registry.renew(W1, now=10)
        case "release":
            assert await registry.release(BLOG, claimed.lease.generation, now=10)
        case _:
            assert await registry.retire(None, now=10) == 1
    await registry.retire(None, now=10)
    assert [found.last_used for found in await registry.reservations(ANN.id)] == [now]
    assert (await lost(registry, BLOG, BOB, now + KEEP)).reason is TakenBy.RESERVED


async def test_retire_one_worker_or_all(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10, worker=W1)
    other = await won(registry, PORT, ANN, 10, worker=W2)
    assert await registry.retire(W1, now=40) == 1
    assert await registry.lookup(BLOG) is None
    assert await registry.lookup(PORT) == other.lease
    assert {r.address: r.last_used for r in await registry.reservations(ANN.id)} == {BLOG: 40, PORT: 10}
    assert await registry.retire(None, now=50) == 1
    assert await registry.lookup(PORT) is None
    assert await registry.retire(None, now=60) == 0
    assert {r.address: r.last_used for r in await registry.reservations(ANN.id)} == {BLOG: 40, PORT: 50}


async def test_generations_only_grow_over_all_addresses(registry: Registry) -> None:
    seen = [(await won(registry, address, ANN, 10)).lease.generation for address in (BLOG, PORT, BLOG, ALIAS)]
    assert await registry.retire(None, now=11) == 3
    seen.append((await won(registry, BLOG, ANN, 12)).lease.generation)
    assert seen == sorted(set(seen))


async def test_prune_forgets_only_expired_reservations(registry: Engine) -> None:
    here = replace(TERMS, network="192.0.2.0/24")
    for address in (BLOG, PORT):
        claimed = await won(registry, address, ANN, 0, here)
        await registry.release(address, claimed.lease.generation, now=0 if address == BLOG else 1)
    await won(registry, ALIAS, ANN, 0, here)  # served: never
    assert await registry.prune(now=KEEP + REST - 1, keep=KEEP, rest=REST) == 0
    assert await registry.prune(now=KEEP + REST, keep=KEEP, rest=REST) == 1
    assert [r.address for r in await registry.reservations(ANN.id)] == [ALIAS, PORT]
    assert await registry.reservations_from_network("192.0.2.0/24", since=-1) == 3
    await registry.prune(now=86400.0, keep=1e9, rest=0)
    assert await registry.reservations_from_network("192.0.2.0/24", since=-1) == 0


async def test_a_thousand_claims_at_once_have_one_winner(registry: Registry) -> None:
    for round_ in range(3):
        address = Address(Kind.HTTP, f"prize-{round_}.example.com")
        people = [person(f"p{n}") for n in range(1000)]
        answers = await asyncio.gather(
            *(registry.claim(address, who, W1, now=10, terms=TERMS if round_ else TRIAL) for who in people)
        )
        winners = [answer for answer in answers if isinstance(answer, Claimed)]
        assert len(winners) == 1
        assert await registry.lookup(address) == winners[0].lease


async def test_many_claims_of_one_identity_at_once_end_with_the_newest(registry: Registry) -> None:
    answers = await asyncio.gather(*(registry.claim(BLOG, ANN, W1, now=10, terms=TERMS) for _ in range(200)))
    claims = [answer for answer in answers if isinstance(answer, Claimed)]
    newest = max(claims, key=lambda claimed: claimed.lease.generation)
    assert len({claimed.lease.generation for claimed in claims}) == 200
    assert await registry.lookup(BLOG) == newest.lease
    displaced = {claimed.displaced.generation for claimed in claims if claimed.displaced}
    assert len(displaced) == 199  # each loser is told of exactly once
    assert newest.lease.generation not in displaced


async def test_a_cancelled_claim_holds_nothing(registry: Registry) -> None:
    """The caller may leave before, while or after it is decided; in the last case it has its answer."""
    for yields in range(6):
        address = Address(Kind.TCP, "", 31000 + yields)
        claim = asyncio.ensure_future(registry.claim(address, ANN, W1, now=10, terms=TRIAL))
        await turns(yields)
        held = not claim.cancel()
        await asyncio.wait([claim])
        assert (await registry.reservation(address, now=10, keep=KEEP)) is None
        lease = await registry.lookup(address)
        assert (lease is not None) == held


async def test_a_cancelled_takeover_leaves_the_older_holder_in_place(registry: Registry) -> None:
    for yields in range(6):
        older = (await won(registry, BLOG, ANN, 10)).lease
        claim = asyncio.ensure_future(registry.claim(BLOG, ANN, W2, now=11, terms=TERMS))
        await turns(yields)
        held = not claim.cancel()
        await asyncio.wait([claim])
        now_held = await registry.lookup(BLOG)
        assert now_held is not None
        assert (now_held != older) == held


async def test_a_cancelled_takeover_brings_no_lease_back_that_has_ended_meanwhile(registry: Registry) -> None:
    await won(registry, BLOG, ANN, 10)

    async def cancel() -> None:
        await registry.lookup(BLOG)
        late.cancel()

    busy, first = asyncio.ensure_future(registry.lookup(PORT)), asyncio.ensure_future(cancel())
    late = asyncio.ensure_future(registry.claim(BLOG, ANN, W2, now=11, terms=TERMS))
    ended = asyncio.ensure_future(registry.retire(None, now=12))
    await asyncio.wait([busy, first, late, ended])
    assert await registry.lookup(BLOG) is None


async def test_a_claim_without_a_network_has_no_limit_by_network(registry: Registry) -> None:
    terms = replace(TERMS, network="", max_per_network_day=0)
    assert (await won(registry, BLOG, ANN, 10, terms)).new
    await lost(registry, PORT, ANN, 10, replace(terms, network="192.0.2.0/24"))


# --- allocations: reservations with a label

ALLOCATING = replace(TERMS, label="ssh")


async def test_a_port_with_a_label_is_kept_for_good(registry: Engine) -> None:
    claimed = await won(registry, PORT, ANN, 10, ALLOCATING)
    await registry.release(PORT, claimed.lease.generation, now=11, used=False)
    assert (await lost(registry, PORT, BOB, LONG)).reason is TakenBy.RESERVED
    assert await registry.prune(now=LONG, keep=KEEP, rest=REST) == 0
    (kept,) = await registry.reservations(ANN.id)
    assert (kept.label, kept.last_used, kept.used) == ("ssh", 11, False)
    assert await registry.reservation(PORT, now=LONG, keep=KEEP) == kept
    assert (await won(registry, PORT, ANN, LONG)).reserved


async def test_a_reservation_becomes_an_allocation_and_stays_one(registry: Engine) -> None:
    await won(registry, PORT, ANN, 10)
    await won(registry, PORT, ANN, 11, replace(TERMS, label=""))
    await won(registry, PORT, ANN, 12, replace(TERMS, label="service"))
    await won(registry, PORT, ANN, 13)
    assert [one.label for one in await registry.reservations(ANN.id)] == [""]


async def test_allocations_count_as_names_and_one_that_is_there_is_not_refused_for_that(registry: Engine) -> None:
    ports = [Address(Kind.TCP, "", 21000 + number) for number in range(4)]
    for port in ports[:3]:
        claimed = await won(registry, port, ANN, 10, ALLOCATING)
        await registry.release(port, claimed.lease.generation, now=11)
    assert (await lost(registry, ports[3], ANN, LONG, ALLOCATING)).reason is TakenBy.OVER_LIMIT
    assert (await won(registry, ports[0], ANN, LONG)).reserved
    assert await registry.free(ports[1], ANN.id)
    assert (await won(registry, ports[3], ANN, LONG, ALLOCATING)).reserved
    assert (await won(registry, ports[1], BOB, LONG)).reserved
