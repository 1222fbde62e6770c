"""One row per SSH connection, as a history, and what machines call themselves. Rows are written behind: a log-in never waits for its row."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from ferry import limits
from ferry.names import ConnectionId, Fingerprint, Identity, IdentityId, printable
from ferry.registry.contract import StoreUnavailable
from ferry.report import Report
from ferry.tasks import spawn

from .dialect import Connection
from .engine import Store

STOPPED = "gateway stopped"
"""The reason of a connection that a crash left without an end."""

_BEGIN = """
    INSERT INTO connections (id, identity, fingerprint, peer, client_version, started, up, down)
    VALUES (:id, :identity, :fingerprint, :peer, :client_version, :started, 0, 0)"""
_END = "UPDATE connections SET ended = :ended, reason = :reason, up = :up, down = :down WHERE id = :ended_id"
_HOST = "UPDATE identities SET host = :host WHERE id = :of_host"
_END_LEFT_OVER = """
    UPDATE connections SET reason = :reason, ended = coalesce(
        (SELECT max(heartbeat) FROM workers WHERE heartbeat >= connections.started), started)
    WHERE ended IS NULL"""
_RECENT = """
    SELECT id, identity, fingerprint, peer, client_version, started, ended, reason, up, down FROM connections
    ORDER BY started DESC, id LIMIT :limit"""
_RECENT_OF = """
    SELECT id, identity, fingerprint, peer, client_version, started, ended, reason, up, down FROM connections
    WHERE identity = :identity ORDER BY started DESC, id LIMIT :limit"""
_PRUNE = "DELETE FROM connections WHERE ended < :before"


def end_unfinished(database: Connection) -> int:
    """End the rows that a crash left open, at the last heartbeat of that time. Returns how many.

    For the start of the only worker, before anything forgets the heartbeats or adds a row.
    """
    return database.execute(_END_LEFT_OVER, {"reason": STOPPED}).rowcount


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One SSH connection. Times are seconds since the epoch, `up` and `down` are bytes of payload."""

    id: ConnectionId
    identity: IdentityId
    fingerprint: Fingerprint | None
    peer: str
    client_version: str
    started: float
    ended: float | None = None
    reason: str | None = None
    up: int = 0
    down: int = 0


class ConnectionRows:
    """Rows about SSH connections. `connection_started`, `connection_ended` and `host_told` never wait: rows that cannot be written now
    are queued, up to a bound."""

    def __init__(self, store: Store, report: Report) -> None:
        self._store = store
        self._report = report
        self._queue: deque[dict[str, Any]] = deque()
        self._turn = asyncio.Lock()  # a start that has to wait for a second try must not be overtaken by its end
        self._writing = False
        self._dropped_in_a_row = 0
        self.dropped = 0
        """Rows that were lost because the queue was full, since the start."""

    def connection_started(
        self, connection: ConnectionId, identity: Identity, peer: str, client_version: str, now: float
    ) -> None:
        """A connection began, from the address `peer`. `client_version` comes from the network and is stored escaped."""
        self._add(
            {
                "id": connection,
                "identity": identity.id,
                "fingerprint": identity.fingerprint,
                "peer": peer,
                "client_version": printable(client_version),
                "started": now,
            }
        )

    def connection_ended(self, connection: ConnectionId, reason: str, up: int, down: int, now: float) -> None:
        """A connection ended."""
        self._add({"ended_id": connection, "ended": now, "reason": printable(reason), "up": up, "down": down})

    def host_told(self, identity: IdentityId, host: str) -> None:
        """A session of `identity` says how its machine is called."""
        self._add({"of_host": identity, "host": host})

    async def flush(self) -> None:
        """Write the queued rows, for a clean stop. Raises StoreUnavailable if they cannot be written."""
        async with self._turn:
            while self._queue:
                await self._write_batch()
        if self._dropped_in_a_row > 1:
            self._report("store.dropped", rows=self._dropped_in_a_row - 1)
        self._dropped_in_a_row = 0

    async def recent(self, limit: int, *, identity: IdentityId | None = None) -> list[ConnectionRow]:
        """The newest connections first, those that go on included; of one identity, if given."""
        query, asked = _RECENT if identity is None else _RECENT_OF, {"identity": identity, "limit": limit}
        return await self._store.run(lambda database: [ConnectionRow(*row) for row in database.execute(query, asked)])

    async def prune(self, before: float) -> int:
        """Forget connections that ended before `before` (`limits.CONNECTIONS_KEEP_SECONDS` ago). Returns how many."""
        return await self._store.run(lambda database: database.execute(_PRUNE, {"before": before}).rowcount)

    def _add(self, row: dict[str, Any]) -> None:
        if len(self._queue) >= limits.STORE_QUEUE:
            self.dropped += 1
            self._dropped_in_a_row += 1
            if self._dropped_in_a_row == 1:  # told at once when it begins; the rest when writing goes on again
                self._report("store.dropped", rows=1)
        else:
            self._queue.append(row)
        if not self._writing:
            self._writing = True
            spawn("store.connections", self._write_behind())

    async def _write_behind(self) -> None:
        try:
            await self.flush()
        except StoreUnavailable:
            pass  # the store has reported it; the rows wait for the next connection's turn
        finally:
            self._writing = False

    async def _write_batch(self) -> None:
        rows = [self._queue.popleft() for _ in range(min(len(self._queue), limits.STORE_BATCH))]

        def transaction(database: Connection) -> None:
            # A connection's start is always queued before its end, so starts first is an order that loses nothing.
            database.executemany(_BEGIN, [row for row in rows if "id" in row])
            database.executemany(_END, [row for row in rows if "ended_id" in row])
            database.executemany(_HOST, [row for row in rows if "of_host" in row])

        try:
            await self._store.run(transaction)
        except StoreUnavailable:
            self._queue.extendleft(reversed(rows))
            raise
