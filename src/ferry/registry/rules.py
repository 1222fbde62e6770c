"""The contract's decisions, as pure functions of the state of one address. All engines call them, so that they differ
only in where they keep their data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ferry import limits
from ferry.names import Identity, IdentityId

from .contract import Lease, Reservation, Taken, TakenBy, Terms


@dataclass(frozen=True, slots=True)
class AddressState:
    """The reservation and the lease of one address before a decision."""

    reservation: Reservation | None
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class RecentReservations:
    """New reservations of the last day from one network. `oldest` is the time of the first of them."""

    count: int
    oldest: float | None


def unused_keep(keep: float) -> float:
    """The seconds for which an unused reservation is kept, where a used one is kept for `keep`."""
    return min(keep, limits.NAMES_UNUSED_KEEP_SECONDS)


def kept_until(reservation: Reservation, *, keep: float) -> float:
    """When a reservation whose address is not served runs out: infinity, if it is an allocation. `keep` is that of used
    ones."""
    if reservation.label is not None:
        return math.inf
    return reservation.last_used + (keep if reservation.used else unused_keep(keep))


def in_force(state: AddressState, *, now: float, keep: float) -> bool:
    """Whether there is a reservation that has not run out, or whose owner serves the address."""
    reservation, lease = state.reservation, state.lease
    if reservation is None:
        return False
    return (lease is not None and lease.owner == reservation.owner) or kept_until(reservation, keep=keep) >= now


def resting(reservation: Reservation, *, now: float, keep: float, rest: float) -> bool:
    """Whether a reservation that is not in force still keeps others away."""
    return now < kept_until(reservation, keep=keep) + rest


def refusal(state: AddressState, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
    """Why `identity` may not have the address, apart from its limits; None if it may."""
    reservation, lease = state.reservation, state.lease
    other = reservation if reservation is not None and reservation.owner != identity.id and not terms.given else None
    if other is not None and in_force(state, now=now, keep=terms.keep):
        return Taken(TakenBy.RESERVED, other.owner, other.owner_name, None)
    if lease is not None and lease.owner != identity.id:
        return Taken(TakenBy.LIVE, lease.owner, lease.owner_name, None)
    if other is not None and resting(other, now=now, keep=terms.keep, rest=terms.rest):
        return Taken(TakenBy.RESTING, other.owner, other.owner_name, kept_until(other, keep=terms.keep) + terms.rest)
    return None


def reservation_of(state: AddressState, identity: Identity) -> Reservation | None:
    """The reservation that is `identity`'s, in force or not."""
    found = state.reservation
    return found if found is not None and found.owner == identity.id else None


def over_limit(
    terms: Terms, owner: IdentityId, owner_name: str, *, others: int, recent: RecentReservations | None
) -> Taken | None:
    """Why `owner`, who has `others` in force, may not reserve one more; None if it may.

    `recent` is None where nothing new would be made: a resting reservation is taken up again.
    """
    if others >= terms.max_reservations:
        return Taken(TakenBy.OVER_LIMIT, owner, owner_name, None)
    if recent is not None and terms.max_per_network_day is not None and recent.count >= terms.max_per_network_day:
        until = None if recent.oldest is None else recent.oldest + limits.NAMES_NETWORK_SECONDS
        return Taken(TakenBy.NETWORK_LIMIT, owner, owner_name, until)
    return None


def claimed_again(
    reservation: Reservation, owner_name: str, *, now: float, terms: Terms, taken_over: bool
) -> Reservation:
    """The reservation after its owner has claimed the address again; `taken_over`: from its own live lease, which counts as
    a use. `last_used` never goes back, whatever the clock says, and an allocation stays one."""
    return replace(
        reservation,
        owner_name=owner_name,
        derived=reservation.derived and terms.derived,
        last_used=max(reservation.last_used, now),
        used=reservation.used or taken_over,
        label=terms.label if reservation.label is None else reservation.label,
    )
