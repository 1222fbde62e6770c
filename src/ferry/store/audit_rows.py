"""The statements on the table of the audit log: to add records, and to read them. Each function is a transaction, or a part
of one. `audit_pruning` has those that drop records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ferry.protocol.audit import BEFORE_ALL, AuditRecord, Entry, Gaps, Kind, Link, Outcome, Wanted, chained, gaps_in

from .dialect import Connection

_ADD: Final = """
    INSERT INTO audit (seq, time, kind, outcome, identity, key, peer, connection, what, rule, detail, up, down, milliseconds, events, upto,
        hash)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_LAST: Final = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1"
_PRUNED: Final = "SELECT upto, detail FROM audit WHERE kind = 'prune' ORDER BY upto DESC LIMIT 1"
_THINNED: Final = """
    SELECT time, kind, outcome, identity, key, peer, connection, what, rule, detail, up, down, milliseconds, events, upto
    FROM audit WHERE kind = 'thin'"""
_ENTRIES: Final = """
    SELECT seq, hash, time, kind, outcome, identity, key, peer, connection, what, rule, detail, up, down, milliseconds, events, upto
    FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"""
_WANTED: Final = """
    SELECT seq, hash, time, kind, outcome, identity, key, peer, connection, what, rule, detail, up, down, milliseconds, events, upto
    FROM audit WHERE seq > :after AND seq <= :upto
    AND (:identity IS NULL OR identity = :identity) AND (:key IS NULL OR key = :key)
    AND (:kind IS NULL OR kind = :kind) AND (:outcome IS NULL OR outcome = :outcome)
    AND (:since IS NULL OR time >= :since) AND (:until IS NULL OR time < :until)
    ORDER BY seq DESC LIMIT :most"""


def last_link(connection: Connection) -> Link:
    """The place of the last record; BEFORE_ALL if there is none."""
    rows = connection.execute(_LAST).fetchall()
    return Link(*rows[0]) if rows else BEFORE_ALL


def start_of(connection: Connection) -> Link:
    """The place before the first record: BEFORE_ALL, or what the last pruning says."""
    rows = connection.execute(_PRUNED).fetchall()
    return Link(*rows[0]) if rows else BEFORE_ALL


def add(connection: Connection, records: Sequence[AuditRecord], *, installation: str) -> Link:
    """Add records at the end. `installation` is the name in the first record of all, if there is none yet. Returns the
    last place."""
    link = last_link(connection)
    if link == BEFORE_ALL and records:
        records = [AuditRecord(records[0].time, Kind.BEGAN, Outcome.OK, what=installation), *records]
    entries = []
    for record in records:
        entries.append(chained(link, record))
        link = entries[-1].link
    connection.executemany(_ADD, [(entry.link.seq, *entry.record, entry.link.hash) for entry in entries])
    return link


def gaps_of(connection: Connection) -> Gaps:
    """The runs of records that were dropped from between others."""
    return gaps_in(AuditRecord(*row) for row in connection.execute(_THINNED))


def entries_after(connection: Connection, seq: int, most: int) -> list[Entry]:
    """The next `most` records behind the number `seq`."""
    return [_entry(row) for row in connection.execute(_ENTRIES, (seq, most))]


def all_entries(connection: Connection, *, piece: int) -> Iterator[Entry]:
    """All records in their order, `piece` of them in memory at once. Numbers below 1 count too: they would be a forger's."""
    after = -(2**63)
    while found := entries_after(connection, after, piece):
        yield from found
        after = found[-1].link.seq


def wanted_in(connection: Connection, wanted: Wanted, *, after: int, upto: int, most: int) -> list[Entry]:
    """The last `most` records that are wanted among the numbers from `after` + 1 to `upto`, the newest first."""
    asked = {
        "identity": wanted.identity, "key": wanted.key, "kind": wanted.kind, "outcome": wanted.outcome,
        "since": wanted.since, "until": wanted.until, "after": after, "upto": upto, "most": most,
    }  # fmt: skip
    return [_entry(row) for row in connection.execute(_WANTED, asked)]


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(Link(row[0], row[1]), AuditRecord(*row[2:]))
