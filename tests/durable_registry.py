"""The durable registry, with a look at what no method of the contract shows."""

from __future__ import annotations

from ferry.store.engine import Store
from ferry.store.registry import SqlRegistry


class DurableRegistry(SqlRegistry):
    """Over `store`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.store = store

    async def reservations_from_network(self, network: str, *, since: float) -> int:
        """The number of new reservations from `network` after `since`, including freed ones."""
        query = "SELECT count(*) FROM reservations_made WHERE network = ? AND at > ?"
        count: int = await self.store.run(lambda connection: connection.execute(query, (network, since)).fetchone()[0])
        return count
