"""A flood in the audit log: the database drops its records first, and the chain still proves what is left."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry import limits
from ferry.clock import timestamp
from ferry.names import Fingerprint, Identity, IdentityId
from ferry.observe.audit import Auditor
from ferry.protocol.audit import AuditRecord, Kind, Link, Outcome, Wanted
from ferry.report import no_report
from ferry.store.audit import AuditLog
from ferry.store.audit_pruning import held, runs_in, shares, thin
from ferry.store.audit_rows import add, gaps_of
from ferry.store.engine import Store
from hand_clock import StandingClock
from store.audit_chain import entries, proof
from store.sql_steps import steps_of

NOW = 1_800_000_000.0
KEY = Fingerprint("SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg")
YEAR = 365 * 86400.0


def record(identity: str = "loud", kind: str = Kind.REACH) -> AuditRecord:
    return AuditRecord(timestamp(NOW), kind, Outcome.OK, identity, rule="/k, line 1")


async def test_a_flooding_key_takes_out_its_own_records_and_not_a_quiet_ones(store: Store) -> None:
    """AUDIT_RUN. Two days, an hour at a time: the loud one would fill the log in three hours."""
    clock = StandingClock(NOW)
    log = AuditLog(store, clock, no_report)
    auditor = Auditor(log.add, clock, str)
    for name, connection in (("loud", "c1"), ("quiet", "c2")):
        who = Identity(IdentityId(name), name, KEY)
        auditor.note(
            "connection.opened",
            {"connection": connection, "identity": who, "peer": "192.0.2.7:1", "rule": "/k, line 1"},
        )
    anchors: list[Link] = []
    for hour in range(48):
        for number in range(360):
            clock.seconds = hour * 3600.0 + number * 10
            auditor.note("reach.opened", {"connection": "c1", "target": f"10.0.0.{number % 250}:22"})
            if number == 200:
                auditor.note("tunnel.opened", {"connection": "c2", "address": f"port {21000 + hour}"})
                auditor.note("operator.acted", {"act": f"unblock {hour}", "by": "uid 0", "done": True})
        auditor.note("keys.refused", {"peer": "203.0.113.9", "keys": [KEY]})
        await log.flush()
        anchors.append(await log.head())
        await log.prune(keep_seconds=YEAR, keep=limits.AUDIT_RECORDS_LEAST)
        left = await entries(store)
        assert len(left) <= limits.AUDIT_RECORDS_LEAST + 2 * limits.AUDIT_RUN
    found = Counter((entry.record.kind, entry.record.identity) for entry in left)
    assert found[Kind.FORWARD, "quiet"] == found[Kind.ADMIN, ""] == found[Kind.LOGIN, ""] == 48
    assert found[Kind.LOGIN, "quiet"] == found[Kind.BEGAN, ""] == 1
    assert found[Kind.REACH, "loud"] > limits.AUDIT_RECORDS_LEAST / 2
    assert Kind.PRUNE not in {entry.record.kind for entry in left}
    whole = await proof(store, anchors[-1])
    assert (whole.fits, whole.records, whole.head.seq) == (True, len(left), left[-1].link.seq)
    dropped = sum(entry.record.events or 0 for entry in left if entry.record.kind == Kind.THIN)
    assert whole.head.seq == len(left) + dropped


async def test_a_flood_of_new_keys_is_one_flood(store: Store) -> None:
    """Of clients without a line in a key file, and of those who have not logged in."""
    log = AuditLog(store, StandingClock(NOW), no_report)
    for number in range(2000):
        if number % 100 == 50:
            log.add(record("quiet"))
        log.add(record(f"SHA256:{number}" if number % 2 else "")._replace(rule=""))
    await log.flush()
    await log.prune(keep_seconds=YEAR, keep=1000)
    found = Counter(entry.record.identity for entry in await entries(store))
    assert found["quiet"] == 20
    assert (await proof(store)).fits


async def test_every_kind_that_a_client_or_a_stranger_can_cause_has_a_holder(store: Store) -> None:
    """One record of each kind: those of the operator and of the gateway have none."""
    records = [AuditRecord(timestamp(NOW), kind, Outcome.OK, str(kind), rule="/k, line 1") for kind in Kind]
    await store.run(partial(add, records=records, installation="x"))
    _, found = await store.run(partial(held, after=0, most=100))
    kept = {"began", "gateway", "config", "keys", "policy", "admin", "gap", "prune", "thin"}
    assert set(found) == set(Kind) - kept


async def test_where_all_have_as_many_the_oldest_are_dropped(store: Store) -> None:
    log = AuditLog(store, StandingClock(NOW), no_report)
    for number in range(1500):
        log.add(record(f"web-{number % 300}"))
    await log.flush()
    before = await entries(store)
    assert await log.prune(keep_seconds=YEAR, keep=1000) >= 500
    left = await entries(store)
    assert len(left) <= 1000 + 2 * limits.AUDIT_RUN
    kept = [entry for entry in left if entry.record.kind == Kind.REACH]
    assert kept == before[-len(kept) :]
    assert (await proof(store)).fits


async def test_where_no_run_is_long_enough_the_oldest_are_dropped(store: Store) -> None:
    log = AuditLog(store, StandingClock(NOW), no_report)
    for number in range(1500):
        log.add(record("loud", Kind.ADMIN if number % 2 else Kind.REACH))
    await log.flush()
    assert await log.prune(keep_seconds=YEAR, keep=1000) == 501  # the record that the log begins with counts too
    assert {entry.record.kind for entry in (await entries(store))[-3:]} == {Kind.ADMIN, Kind.REACH, Kind.PRUNE}
    assert (await proof(store)).fits


async def test_the_last_records_are_not_searched_for_among_all(store: Store) -> None:
    await store.run(partial(add, records=[record() for _ in range(limits.AUDIT_PIECE + 10)], installation="x"))
    asked: list[str] = []
    await store.run(lambda connection: connection.set_trace_callback(asked.append))
    assert len(await AuditLog(store, StandingClock(NOW), no_report).last(Wanted(), 5)) == 5
    assert sum("identity" in statement for statement in asked) == 1


async def test_old_records_around_gaps_are_pruned_like_others(store: Store) -> None:
    clock = StandingClock(NOW)
    log = AuditLog(store, clock, no_report)
    for number in range(300):
        clock.seconds = number * 86400.0
        log.add(record("quiet" if number % 50 == 0 else "loud")._replace(time=timestamp(clock.now())))
    await log.flush()
    await log.prune(keep_seconds=YEAR, keep=100)
    gaps = await store.run(gaps_of)
    assert len(gaps) > 2
    for keep_days in (290, 240, 180, 90, 20):
        await log.prune(keep_seconds=keep_days * 86400.0, keep=1000)
        oldest = next(entry for entry in await entries(store) if entry.record.kind == Kind.REACH)
        assert oldest.record.time >= timestamp(clock.now() - keep_days * 86400.0)
        assert (await proof(store)).fits
    assert await store.run(gaps_of) == gaps  # their records are young


async def test_the_database_drops_only_the_run_that_a_record_names(store: Store, path: Path) -> None:
    await store.run(partial(add, records=[record() for _ in range(40)], installation="x"))
    work = partial(thin, now=timestamp(NOW), after=9, losing={"loud": 20}, excess=100, most=100)
    done = await store.run(work)
    assert done is not None
    assert (done.lost, done.added) == (Counter(loud=20), 1)
    assert [entry.link.seq for entry in await entries(store)] == [*range(1, 10), *range(30, 43)]
    for seq in (9, 30):
        with (
            closing(sqlite3.connect(path)) as other,
            pytest.raises(sqlite3.IntegrityError, match="only after a record says"),
        ):
            other.execute("DELETE FROM audit WHERE seq = ?", (seq,))
    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError, match="added at its end"):
        other.execute("INSERT INTO audit SELECT 15, time, kind, outcome, identity, key, peer, connection, what, rule, detail,"
                      " up, down, milliseconds, events, upto, hash FROM audit WHERE seq = 9")  # fmt: skip


TAMPERED: list[tuple[str, str]] = [
    ("UPDATE audit SET identity = 'other' WHERE seq = 9", "record 9 does not fit"),
    ("UPDATE audit SET identity = 'other' WHERE seq = 30", "record 30 does not fit"),
    ("UPDATE audit SET what = 'x' WHERE kind = 'thin'", "record 9 does not fit"),
    ("UPDATE audit SET detail = 'x' WHERE kind = 'thin'", "record 30 does not fit"),
    ("DELETE FROM audit WHERE seq = 9", "records 9 to 29 are missing: 30 follows 8"),
    ("DELETE FROM audit WHERE seq = 30", "record 30 is missing: 31 follows 29"),
    ("DELETE FROM audit WHERE kind = 'thin'", "records 10 to 29 are missing: 30 follows 9"),
    ("UPDATE audit SET seq = 10 WHERE seq = 9", "record 9 is missing: 10 follows 8"),
]


@pytest.mark.parametrize(("statement", "why"), TAMPERED)
async def test_what_was_changed_beside_a_gap_is_found(store: Store, path: Path, statement: str, why: str) -> None:
    await store.run(partial(add, records=[record() for _ in range(40)], installation="x"))
    await store.run(partial(thin, now=timestamp(NOW), after=9, losing={"loud": 20}, excess=100, most=100))
    assert (await proof(store)).fits
    with closing(sqlite3.connect(path)) as other:
        other.executescript(f"DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_is_not_deleted; {statement}")
    assert (await proof(store)).why.startswith(why)


async def test_many_gaps_make_no_drop_slow(store: Store) -> None:
    """The trigger looks at each record: it needs its index. 2,000 gaps, and 20,000 records behind them."""
    mixed = [record("quiet" if number % 11 == 0 else "loud") for number in range(42_000)]
    await store.run(partial(add, records=mixed, installation="x"))
    await store.run(partial(thin, now=timestamp(NOW), after=0, losing={"loud": 20_000}, excess=20_000, most=22_000))
    assert len(await store.run(gaps_of)) > 1900

    work = partial(thin, now=timestamp(NOW), after=22_100, losing={"loud": 9000}, excess=9000, most=10_000)
    assert await store.run(steps_of(work)) < 100 * 100


@given(st.dictionaries(st.text(max_size=2), st.integers(1, 50), max_size=8), st.integers(1, 100))
def test_who_has_most_loses_first(counts: dict[str, int], excess: int) -> None:
    lost = shares(counts, excess)
    left = {holder: count - lost[holder] for holder, count in counts.items()}
    assert min(excess, sum(counts.values())) <= lost.total() < excess + max(len(counts), 1)
    assert all(count >= 0 for count in left.values())
    level = max(left.values(), default=0)
    assert all(left[holder] == level for holder in lost)  # who has lost some has as many as any


@pytest.mark.parametrize(
    ("holders", "lost"),
    [
        ("aaaaaaaaaaa.aaaaaaaaaaaa", [(1, 11), (13, 24)]),
        ("aaaaaaaaa.aaaaaaaaa", []),  # one of somebody else between them
        ("aaaaaaaaa-aaaaaaaaa", []),  # one was dropped between them
        ("aaaabbaaaaaaaaa", [(6, 15)]),  # b loses one: the run with the first would be too short
        ("bbaaaaaaaaa", [(2, 11)]),
    ],
)
def test_runs_are_records_right_behind_one_another(holders: str, lost: list[tuple[int, int]]) -> None:
    """AUDIT_RUN."""
    rows = [(seq, "h", None if holder == "." else holder) for seq, holder in enumerate(holders, 1) if holder != "-"]
    assert [(run.first, run.last.seq) for run in runs_in(rows, {"a": 99, "b": 1}, 99)] == lost


@given(
    st.lists(st.tuples(st.integers(1, 15), st.sampled_from(["a", "b", None])), max_size=12),
    st.integers(0, 30), st.integers(0, 30), st.integers(1, 60),
)  # fmt: skip
def test_runs_are_long_and_nobody_loses_more_than_the_share(
    parts: list[tuple[int, str | None]], of_a: int, of_b: int, excess: int
) -> None:
    holders = [holder for length, holder in parts for _ in range(length)]
    rows = [(number, f"h{number}", holder) for number, holder in enumerate(holders, 1)]
    runs = list(runs_in(rows, {"a": of_a, "b": of_b}, excess))
    lost = sum((run.lost for run in runs), Counter[str]())
    assert lost["a"] <= of_a
    assert lost["b"] <= of_b
    assert lost.total() - len(runs) <= excess
    for run in runs:
        assert run.last.seq - run.first + 1 == run.lost.total() >= limits.AUDIT_RUN
        assert Counter(holders[run.first - 1 : run.last.seq]) == run.lost
        assert run.last.hash == f"h{run.last.seq}"
