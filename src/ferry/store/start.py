"""The first writes of a gateway's start: they end the connections and leases that a crash has left open."""

from __future__ import annotations

from ferry.names import WorkerId

from .connections import end_unfinished
from .dialect import Connection
from .engine import Store
from .registry import renew, retire


async def begin(store: Store, worker: WorkerId, *, now: float) -> bool:
    """End the connections and leases of former workers, and write the first heartbeat of `worker`, which is the only
    one.

    False if nothing can be written now: then it is written before the first transaction that can be. Until then the
    owners of left-over leases are served all the same, and a left-over lease refuses no identity that may have the address.
    Raises StoreUnavailable if the database cannot be read either.
    """

    def transaction(connection: Connection) -> None:
        end_unfinished(connection)  # by the heartbeats, which `retire` forgets
        retire(connection, None, now)
        renew(connection, worker, now)

    return await store.first(transaction)
