"""The rules as pure functions, with states that no engine reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry import limits
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind, WorkerId
from ferry.registry.contract import Lease, Reservation, TakenBy, Terms
from ferry.registry.rules import AddressState, RecentReservations, in_force, over_limit, refusal, reservation_of

BLOG = Address(Kind.HTTP, "blog.example.com")
ANN, BOB = (Identity(IdentityId(name), None, Fingerprint(f"SHA256:{name}")) for name in ("ann", "bob"))
TERMS = Terms(keep=100, rest=50, reserve=True, derived=False, max_reservations=3, max_per_network_day=2)


def reserved(owner: Identity, last_used: float) -> Reservation:
    return Reservation(BLOG, owner.id, str(owner), derived=False, created=0, last_used=last_used)


def leased(owner: Identity) -> Lease:
    return Lease(BLOG, owner.id, WorkerId("w"), 1, 0, str(owner))


@pytest.mark.parametrize(
    ("state", "now", "holds"),
    [
        (AddressState(None, None), 0, False),
        (AddressState(None, leased(ANN)), 0, False),
        (AddressState(reserved(ANN, 10), None), 110, True),
        (AddressState(reserved(ANN, 10), None), 111, False),
        (AddressState(reserved(ANN, 10), leased(ANN)), 999, True),
        (AddressState(reserved(ANN, 10), leased(BOB)), 111, False),  # who serves it keeps nothing for another
    ],
)
def test_a_reservation_is_in_force_for_its_time_and_while_its_owner_serves_it(
    state: AddressState, *, now: float, holds: bool
) -> None:
    assert in_force(state, now=now, keep=100) is holds


@pytest.mark.parametrize(
    ("state", "now", "why"),
    [
        (AddressState(None, None), 0, None),
        (AddressState(reserved(BOB, 10), leased(BOB)), 999, None),
        (AddressState(reserved(ANN, 10), leased(BOB)), 100, TakenBy.RESERVED),
        (AddressState(reserved(ANN, 10), leased(BOB)), 120, TakenBy.RESTING),
        (AddressState(reserved(ANN, 10), leased(BOB)), 160, None),
        (AddressState(reserved(BOB, 10), leased(ANN)), 100, TakenBy.LIVE),
        (AddressState(None, leased(ANN)), 0, TakenBy.LIVE),
    ],
)
def test_a_foreign_reservation_lease_and_rest_refuse_in_this_order(
    state: AddressState, *, now: float, why: TakenBy | None
) -> None:
    taken = refusal(state, BOB, now=now, terms=TERMS)
    assert (taken and taken.reason) is why


def test_an_identity_keeps_its_reservation_in_force_or_expired() -> None:
    assert reservation_of(AddressState(None, leased(BOB)), BOB) is None
    for last_used in (0, 1_000_000):
        mine = reserved(BOB, last_used)
        assert reservation_of(AddressState(mine, leased(ANN)), BOB) is mine
        assert reservation_of(AddressState(mine, leased(ANN)), ANN) is None


@pytest.mark.parametrize(
    ("others", "recent", "why", "until"),
    [
        (2, None, None, None),
        (3, None, TakenBy.OVER_LIMIT, None),
        (2, RecentReservations(1, 10), None, None),
        (2, RecentReservations(2, 10), TakenBy.NETWORK_LIMIT, 10 + limits.NAMES_NETWORK_SECONDS),
        (3, RecentReservations(2, 10), TakenBy.OVER_LIMIT, None),
    ],
)
def test_an_identity_and_a_network_have_room_for_so_many(
    *, others: int, recent: RecentReservations | None, why: TakenBy | None, until: float | None
) -> None:
    taken = over_limit(TERMS, BOB.id, "bob", others=others, recent=recent)
    assert (taken and taken.reason, taken and taken.until) == (why, until)
    without = replace(TERMS, max_per_network_day=None)
    unlimited = over_limit(without, BOB.id, "bob", others=others, recent=recent)
    assert (unlimited and unlimited.reason) is (TakenBy.OVER_LIMIT if others == 3 else None)
