"""The registry's statements, built once: a statement that is built anew for every claim costs more than running it.

Parameters end in an underscore where they are compared or computed with; without one they are the column's new value.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    Double,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    not_,
    or_,
    select,
    update,
)

from .tables import counters, leases, reservations, reservations_made, workers


def _text(name: str) -> BindParameter[str]:
    return bindparam(name, type_=Text())


def _time(name: str) -> BindParameter[float]:
    return bindparam(name, type_=Double())


_asked = select(_text("address_").label("address")).subquery("asked")
_served: Any = and_(leases.c.address == reservations.c.address, leases.c.owner == reservations.c.owner)
_live = exists().where(_served)
_kept = reservations.c.last_used + _time("keep_") >= _time("now_")

STANDING: Final = (
    select(
        reservations.c.owner,
        reservations.c.owner_name,
        reservations.c.derived,
        reservations.c.created,
        reservations.c.last_used,
        leases.c.owner,
        leases.c.worker,
        leases.c.generation,
        leases.c.claimed,
        leases.c.owner_name,
    )
    .select_from(_asked)
    .outerjoin(reservations, reservations.c.address == _asked.c.address)
    .outerjoin(leases, leases.c.address == _asked.c.address)
)
"""One row: the five columns of the reservation, then the five of the lease, each None where there is none."""

ALL_RESERVATIONS: Final = select(
    reservations.c.address,
    reservations.c.owner,
    reservations.c.owner_name,
    reservations.c.derived,
    reservations.c.created,
    reservations.c.last_used,
).order_by(reservations.c.created, reservations.c.address)
RESERVATIONS_OF: Final = ALL_RESERVATIONS.where(reservations.c.owner == _text("owner_"))
IN_FORCE_OF: Final = (
    select(func.count()).select_from(reservations).where(reservations.c.owner == _text("owner_"), or_(_kept, _live))
)
MADE_FROM: Final = select(func.count(), func.min(reservations_made.c.at)).where(
    reservations_made.c.network == _text("network_"), reservations_made.c.at > _time("since_")
)

NEXT_GENERATION: Final = (
    update(counters)
    .where(counters.c.name == "generation")
    .values(value=counters.c.value + 1)
    .returning(counters.c.value)
)

NEW_LEASE: Final = insert(leases)
CHANGE_LEASE: Final = (
    update(leases)
    .where(leases.c.address == _text("address_"))
    .values({name: bindparam(name) for name in ("owner", "owner_name", "worker", "generation", "claimed")})
)
END: Final = delete(leases).where(
    leases.c.address == _text("address_"), leases.c.generation == bindparam("generation_")
)
END_BY_WORKER: Final = delete(leases).where(leases.c.worker == _text("worker_"))
END_ALL: Final = delete(leases)

NEW_RESERVATION: Final = insert(reservations)
NEW_MADE: Final = insert(reservations_made)
CHANGE_RESERVATION: Final = (
    update(reservations)
    .where(reservations.c.address == _text("address_"))
    .values({name: bindparam(name) for name in ("owner_name", "derived", "last_used")})
)
FREE: Final = delete(reservations).where(
    reservations.c.address == _text("address_"), reservations.c.owner == _text("owner_")
)

_use = update(reservations).values(last_used=_time("now_"))
USE_ALL: Final = _use.where(_live)
USE_BY_WORKER: Final = _use.where(exists().where(_served, leases.c.worker == _text("worker_")))
USE_BY_GENERATION: Final = _use.where(
    reservations.c.address == _text("address_"),
    exists().where(_served, leases.c.generation == bindparam("generation_")),
)

PRUNE: Final = delete(reservations).where(
    not_(_kept), not_(_live), reservations.c.last_used + _time("keep_") + _time("rest_") <= _time("now_")
)
PRUNE_MADE: Final = delete(reservations_made).where(reservations_made.c.at <= _time("since_"))

HEARTBEAT: Final = update(workers).where(workers.c.id == _text("worker_")).values(heartbeat=_time("now_"))
FIRST_HEARTBEAT: Final = insert(workers)
FORGET_WORKERS: Final = delete(workers)
FORGET_WORKER: Final = FORGET_WORKERS.where(workers.c.id == _text("worker_"))
