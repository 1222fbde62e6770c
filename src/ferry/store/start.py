"""What a gateway writes at its start, before anything else is written: the end of whatever a crash has left open."""

from __future__ import annotations

from ferry.names import WorkerId

from .dialect import Connection
from .engine import Store
from .registry import renew, retire
from .sessions import end_left_over


async def begin(store: Store, worker: WorkerId, *, now: float) -> bool:
    """End sessions and leases of former workers, and write this one's first heartbeat. `worker` is the only one.

    False if nothing can be written now: then it is written before the first transaction that can be. Until then their
    owners are served all the same, and what is left over refuses nobody who could be given the address.
    Raises StoreUnavailable if the database cannot be read either.
    """

    def transaction(connection: Connection) -> None:
        end_left_over(connection)  # by the heartbeats, which `retire` forgets
        retire(connection, None, now)
        renew(connection, worker, now)

    return await store.first(transaction)
