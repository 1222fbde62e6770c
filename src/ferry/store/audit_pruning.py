"""Drops records of the audit log: those that are too old, and those past its room. Each function that takes a connection is a
transaction, or a part of one.

Who has most records loses first. So a flood takes its own earlier records out, and leaves those of quiet ones, of the
operator and of the gateway where they are. What cannot be taken so (a mixture of short runs, in which nobody has much more
than others) is taken from the beginning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from ferry import limits
from ferry.protocol.audit import BEFORE_ALL, AuditRecord, Kind, Link, Outcome

from .audit_rows import add
from .dialect import Connection

_ENDS: Final = """
    SELECT (SELECT min(seq) FROM audit), (SELECT max(seq) FROM audit),
    (SELECT coalesce(sum(events), 0) FROM audit WHERE kind = 'thin' AND upto > (SELECT min(seq) FROM audit))"""
_YOUNG: Final = "SELECT seq FROM audit WHERE time >= ? ORDER BY seq LIMIT 1"
_OLDEST: Final = "SELECT seq, hash FROM audit ORDER BY seq LIMIT ?"
# The third column is who holds a record: nobody those of the operator and of the gateway itself. Those without a line in a key file hold theirs together:
# their keys are as many as they like. A sum stands for events without a record, so it does not go with the flood it tells of.
_NEXT: Final = """
    SELECT seq, hash, CASE
        WHEN kind IN ('began', 'gateway', 'config', 'keys', 'policy', 'admin', 'gap', 'prune', 'thin') THEN NULL
        WHEN events IS NOT NULL THEN NULL
        WHEN rule = '' OR identity = 'anonymous' THEN '' ELSE identity END
    FROM audit WHERE seq > ? ORDER BY seq LIMIT ?"""
_BEFORE: Final = """
    SELECT hash FROM audit WHERE seq = :seq
    UNION ALL SELECT detail FROM audit WHERE kind = 'thin' AND upto = :seq
    UNION ALL SELECT detail FROM audit WHERE kind = 'prune' AND upto = :seq"""
_DROP_UPTO: Final = "DELETE FROM audit WHERE seq <= ?"
_DROP: Final = "DELETE FROM audit WHERE seq BETWEEN ? AND ?"


def room_taken(connection: Connection) -> int:
    """How many records there are."""
    first, last, thinned = connection.execute(_ENDS).fetchone()
    return 0 if first is None else int(last - first + 1 - thinned)


def prune(connection: Connection, *, now: str, before: str, excess: int, most: int) -> int:
    """Drop the records before the first one that is not older than `before`, and the `excess` oldest in any case: `most` at
    once. A record says what was dropped. Returns how many were."""
    oldest = connection.execute(_OLDEST, (most,)).fetchall()
    young = connection.execute(_YOUNG, (before,)).fetchone()
    old = len(oldest) if young is None else sum(seq < young[0] for seq, _ in oldest)
    count = min(max(old, excess), len(oldest))
    if count <= 0:
        return 0
    upto, dropped_hash = oldest[count - 1]
    record = AuditRecord(now, Kind.PRUNE, Outcome.OK, detail=dropped_hash, events=count, upto=upto)
    add(connection, [record], installation="")
    connection.execute(_DROP_UPTO, (upto,))
    return count


def held(connection: Connection, *, after: int, most: int) -> tuple[int, Counter[str]]:
    """How many records each holder has among the next `most` behind the number `after`; before it the number of the last one
    of them, or 0 if there is none."""
    rows = connection.execute(_NEXT, (after, most)).fetchall()
    return rows[-1][0] if rows else 0, Counter(holder for _, _, holder in rows if holder is not None)


def shares(counts: Mapping[str, int], excess: int) -> Counter[str]:
    """How many records each holder loses, so that `excess` go: those who have most lose first, until all have as many."""
    ordered, total, level = sorted(counts.values(), reverse=True), 0, 0
    for number, (count, next_one) in enumerate(zip(ordered, [*ordered[1:], 0], strict=False), 1):
        total += count
        if total - number * next_one >= excess:
            level = (total - excess) // number
            break
    return Counter({holder: count - level for holder, count in counts.items() if count > level})


class Run(NamedTuple):
    """Records of holders that lose some, one right behind the other."""

    first: int
    last: Link
    lost: Counter[str]
    """How many of each holder."""


class Thinned(NamedTuple):
    """What one transaction has dropped."""

    upto: int
    """The number of the last record that was looked at."""
    lost: Counter[str]
    """How many records each holder has lost."""
    added: int
    """Records of what was dropped."""


def thin(
    connection: Connection, *, now: str, after: int, losing: Mapping[str, int], excess: int, most: int
) -> Thinned | None:
    """Look at the next `most` records behind the number `after`, and drop of those that holders lose, so that `excess` are
    fewer. Records say what was dropped. None if there is no further record."""
    rows = connection.execute(_NEXT, (after, most)).fetchall()
    if not rows:
        return None
    runs = list(runs_in(rows, losing, excess))
    records = [
        AuditRecord(
            now, Kind.THIN, Outcome.OK, what=_hash_before(connection, run.first), detail=run.last.hash,
            events=run.lost.total(), upto=run.last.seq,
        )
        for run in runs
    ]  # fmt: skip
    add(connection, records, installation="")
    for run in runs:
        connection.execute(_DROP, (run.first, run.last.seq))
    return Thinned(rows[-1][0], sum((run.lost for run in runs), Counter()), len(runs))


def runs_in(rows: Iterable[tuple[int, str, str | None]], losing: Mapping[str, int], excess: int) -> Iterator[Run]:
    """The runs to drop among `rows`: number, hash and holder. Each has AUDIT_RUN records at least, and one says so: all
    together make `excess` fewer at most."""
    left = Counter(losing)
    first, last, length, lost = 0, BEFORE_ALL, 0, Counter[str]()
    for seq, its_hash, holder in (*rows, (0, "", None)):  # the last one ends a run
        goes = holder is not None and lost[holder] < left[holder] and length <= excess
        if not (goes and seq == last.seq + 1):
            if length >= limits.AUDIT_RUN:
                yield Run(first, last, lost)
                left -= lost
                excess -= length - 1
            length, lost = 0, Counter()
            goes = holder is not None and left[holder] > 0 and excess > 0
        if goes and holder is not None:
            first = first if length else seq
            last = Link(seq, its_hash)
            length += 1
            lost[holder] += 1


def _hash_before(connection: Connection, seq: int) -> str:
    """The hash of the record before the number `seq`, which may have been dropped."""
    found = connection.execute(_BEFORE, {"seq": seq - 1}).fetchone()
    return str(found[0]) if found else BEFORE_ALL.hash
