"""The contract's decisions, as pure functions of what is known of one address. Every engine asks these, so that they
differ only in where they keep things."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ferry import limits
from ferry.names import Identity, IdentityId

from .contract import Lease, Reservation, Taken, TakenBy, Terms


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one address before a decision."""

    reservation: Reservation | None
    lease: Lease | None


@dataclass(frozen=True, slots=True)
class Made:
    """New reservations counted over the last day from one network; `oldest` is the time of the first of them."""

    count: int
    oldest: float | None


def in_force(standing: Standing, *, now: float, keep: float) -> bool:
    """Whether there is a reservation whose time has not run out, or whose owner serves the address."""
    reservation, lease = standing.reservation, standing.lease
    if reservation is None:
        return False
    return (lease is not None and lease.owner == reservation.owner) or reservation.last_used + keep >= now


def resting(reservation: Reservation, *, now: float, keep: float, rest: float) -> bool:
    """Whether a reservation that is not in force still keeps others away."""
    return now < reservation.last_used + keep + rest


def refusal(standing: Standing, identity: Identity, *, now: float, terms: Terms) -> Taken | None:
    """Why `identity` may not have the address, leaving its limits aside; None if it may."""
    reservation, lease = standing.reservation, standing.lease
    other = reservation if reservation is not None and reservation.owner != identity.id else None
    if other is not None and in_force(standing, now=now, keep=terms.keep):
        return Taken(TakenBy.RESERVED, other.owner, other.owner_name, None)
    if lease is not None and lease.owner != identity.id:
        return Taken(TakenBy.LIVE, lease.owner, lease.owner_name, None)
    if other is not None and resting(other, now=now, keep=terms.keep, rest=terms.rest):
        return Taken(TakenBy.RESTING, other.owner, other.owner_name, other.last_used + terms.keep + terms.rest)
    return None


def own(standing: Standing, identity: Identity) -> Reservation | None:
    """The reservation that is `identity`'s, in force or not."""
    found = standing.reservation
    return found if found is not None and found.owner == identity.id else None


def no_room(terms: Terms, owner: IdentityId, owner_name: str, *, others: int, made: Made | None) -> Taken | None:
    """Why `owner`, who has `others` in force, may not reserve one more; None if it may.

    `made` is None where nothing new would be made: a resting reservation is taken up again.
    """
    if others >= terms.max_reservations:
        return Taken(TakenBy.OVER_LIMIT, owner, owner_name, None)
    if made is not None and terms.max_per_network_day is not None and made.count >= terms.max_per_network_day:
        until = None if made.oldest is None else made.oldest + limits.NAMES_NETWORK_SECONDS
        return Taken(TakenBy.NETWORK_LIMIT, owner, owner_name, until)
    return None


def touched(reservation: Reservation, owner_name: str, *, now: float, derived: bool) -> Reservation:
    """The same reservation after its owner has claimed the address again. A clock that was set back takes no use away."""
    last_used = max(reservation.last_used, now)
    return replace(reservation, owner_name=owner_name, derived=reservation.derived and derived, last_used=last_used)
