"""Records of the audit log: their canonical form, their chain, and what a proof finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import InvalidInput
from ferry.protocol.audit import (
    BEFORE_ALL,
    AuditRecord,
    Entry,
    Kind,
    Link,
    Outcome,
    Proof,
    bounded,
    canonical,
    chained,
    gaps_in,
    parse_anchor,
    parse_line,
    prove,
)

TIME = "2026-11-22T16:20:11.042Z"
LOGIN = AuditRecord(TIME, Kind.LOGIN, Outcome.OK, "web-1", "SHA256:abc", "192.0.2.7:50022", "c1")


def log_of(records: list[AuditRecord], start: Link = BEFORE_ALL) -> list[Entry]:
    found: list[Entry] = []
    for record in records:
        found.append(chained(found[-1].link if found else start, record))
    return found


TEN = log_of([LOGIN._replace(connection=f"c{number}") for number in range(1, 11)])


def test_the_canonical_form_and_the_hash_as_a_shell_would_make_them() -> None:
    form = (
        '{"seq":1,"time":"2026-11-22T16:20:11.042Z","kind":"login","outcome":"ok","identity":"web-1",'
        '"key":"SHA256:abc","peer":"192.0.2.7:50022","connection":"c1","up":0}'
    )
    record = LOGIN._replace(up=0)
    assert canonical(1, record) == form
    assert chained(BEFORE_ALL, record).link == Link(1, sha256(b"0" * 64 + form.encode()).hexdigest())


def test_a_line_is_the_canonical_form_with_the_hash_at_its_end() -> None:
    entry = TEN[4]
    assert entry.line.replace(f',"hash":"{entry.link.hash}"}}', "}") == canonical(5, entry.record)
    assert json.loads(entry.line)["hash"] == entry.link.hash
    assert parse_line(entry.line.encode()) == entry


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", TEN[0].line[:-20].encode(), b"[]", b"7", b'{"seq":1}', b'{"seq":"1","hash":"x","time":"","kind":"","outcome":""}',
     b'{"seq":1,"hash":7,"time":"","kind":"","outcome":""}',
     b'{"seq":1,"hash":"x","time":"","kind":"","outcome":"","more":1}', b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_line_is_no_record(line: bytes) -> None:
    assert parse_line(line) is None


def test_texts_of_the_network_are_escaped_and_cut() -> None:
    assert bounded("a\x1b[2J\n", 20) == "a\\x1b[2J\\n"
    assert len(bounded("x" * 5000, 300)) == 300
    assert bounded(None, 5) == ""
    assert canonical(1, LOGIN._replace(what=bounded("é" * 400, 300))).isascii()


def test_a_whole_log_fits() -> None:
    proof = prove(TEN, BEFORE_ALL)
    assert (proof.fits, proof.first, proof.head, proof.wrong) == (True, 1, TEN[-1].link, None)
    assert prove([], BEFORE_ALL) == (0, BEFORE_ALL, None, "", 0)


def changed(log: list[Entry]) -> list[Entry]:
    log[4] = Entry(log[4].link, log[4].record._replace(identity="somebody else"))
    return log


def changed_with_its_hash(log: list[Entry]) -> list[Entry]:
    """The record has the right hash, and the next one shows that it was another."""
    log[3] = chained(log[2].link, log[3].record._replace(identity="somebody else"))
    return log


def swapped(log: list[Entry]) -> list[Entry]:
    """The records stand in each other's place."""
    log[4], log[5] = Entry(log[4].link, log[5].record), Entry(log[5].link, log[4].record)
    return log


def out_of_order(log: list[Entry]) -> list[Entry]:
    log[4], log[5] = log[5], log[4]
    return log


def not_a_record(log: list[Entry]) -> list[Entry]:
    forged: dict[str, Any] = {"what": b"bytes"}
    log[4] = Entry(log[4].link, log[4].record._replace(**forged))
    return log


@pytest.mark.parametrize(
    ("tamper", "why"),
    [
        (changed, "record 5 does not fit"),
        (changed_with_its_hash, "record 5 does not fit"),
        (swapped, "record 5 does not fit"),
        (out_of_order, "record 5 is missing: 6 follows 4"),
        (not_a_record, "record 5 does not fit"),
        (lambda log: log[:4] + log[5:], "record 5 is missing: 6 follows 4"),
        (lambda log: log[:4] + log[7:], "records 5 to 7 are missing: 8 follows 4"),
        (lambda log: [*log[:5], *log[4:]], "record 5 stands behind record 5"),
    ],
)
def test_the_first_record_that_does_not_fit_is_named(tamper: Callable[[list[Entry]], list[Entry]], why: str) -> None:
    proof = prove(tamper(list(TEN)), BEFORE_ALL)
    assert proof.why.startswith(why)
    assert not proof.fits
    assert (proof.first, proof.head.seq) == (1, 5 if "behind" in why else 4)


def test_a_log_that_begins_later_needs_a_pruning() -> None:
    assert prove(TEN[3:], BEFORE_ALL).why == "records 1 to 3 are missing: the log begins with record 4"
    assert prove(TEN[3:], TEN[2].link).fits
    assert prove(TEN[3:], Link(3, "0" * 64)).why.startswith("record 4 does not fit")
    assert prove(TEN[3:], TEN[3].link).why == "record 4 is there, and another one says that it was pruned"
    assert prove(TEN[3:], None).fits  # a rotated file, whose first record is taken on trust


@given(st.integers(0, 9), st.sampled_from(AuditRecord._fields), st.text(max_size=5) | st.integers(0, 9))
def test_no_change_of_one_field_passes(index: int, field: str, value: Any) -> None:
    entry = TEN[index]
    record = entry.record._replace(**{field: value})
    log = [*TEN[:index], Entry(entry.link, record), *TEN[index + 1 :]]
    same = canonical(index + 1, record) == canonical(index + 1, entry.record)
    assert prove(log, BEFORE_ALL).fits is same


def test_an_anchor_shows_that_the_end_is_missing() -> None:
    kept = TEN[7].link
    assert prove(TEN, BEFORE_ALL, kept).fits
    proof = prove(TEN[:6], BEFORE_ALL, kept)
    assert (proof.why, proof.wrong) == (
        "the log ends with record 6, and the anchor is of record 8: the end is missing",
        7,
    )
    assert prove(TEN[:6], BEFORE_ALL).fits  # a chain alone cannot show it
    assert "the end is missing" in prove([], BEFORE_ALL, kept).why


def test_an_anchor_shows_that_the_log_was_written_anew() -> None:
    other = log_of([entry.record._replace(identity="somebody else") for entry in TEN])
    assert prove(other, BEFORE_ALL).fits
    assert prove(other, BEFORE_ALL, TEN[7].link).why.startswith("record 8 is not the one of the anchor")


def test_an_anchor_of_a_pruned_record() -> None:
    start = TEN[2].link
    assert prove(TEN[3:], start, start).fits
    for begin in (start, None):
        assert "was pruned: the log begins with record 4" in prove(TEN[3:], begin, TEN[1].link).why
    assert "is not the one of the anchor" in prove(TEN[3:], start, Link(3, "0" * 64)).why


def test_an_anchor_as_it_is_written() -> None:
    link = TEN[7].link
    assert parse_anchor(str(link)) == parse_anchor(f" {str(link).upper()}\n") == link


@pytest.mark.parametrize("text", ["", "8", "abc@8", f"{'0' * 64}@", f"{'0' * 64}", f"{'g' * 64}@1", f"{'0' * 64}@-1"])
def test_what_is_no_anchor(text: str) -> None:
    with pytest.raises(InvalidInput, match="write HASH@N"):
        parse_anchor(text)


def thinned(log: list[Entry], first: int, last: int) -> list[Entry]:
    """The log without the records of these numbers, and with one at its end that says so."""
    by_number = {entry.link.seq: entry.link.hash for entry in log} | {0: BEFORE_ALL.hash}
    by_number |= {entry.record.upto: entry.record.detail for entry in log if entry.record.upto is not None}
    said = AuditRecord(
        TIME,
        Kind.THIN,
        Outcome.OK,
        what=by_number[first - 1],
        detail=by_number[last],
        events=last - first + 1,
        upto=last,
    )
    left = [entry for entry in log if not first <= entry.link.seq <= last]
    return [*left, chained(log[-1].link, said)]


def proof_of(log: list[Entry], anchor: Link | None = None) -> Proof:
    return prove(log, BEFORE_ALL, anchor, gaps_in(entry.record for entry in log))


THINNED = [
    thinned(TEN, 4, 6),
    thinned(thinned(TEN, 4, 6), 7, 7),
    thinned(thinned(TEN, 4, 6), 3, 3),
    thinned(thinned(TEN, 2, 3), 8, 9),
    thinned(thinned(TEN, 1, 3), 5, 5),
    thinned(TEN, 1, 10),
]


@pytest.mark.parametrize("log", THINNED)
def test_a_log_without_the_runs_that_it_says_were_dropped_fits(log: list[Entry]) -> None:
    for anchor in (None, log[0].link, log[-1].link):
        proof = proof_of(log, anchor)
        assert (proof.fits, proof.first, proof.head, proof.records) == (True, log[0].link.seq, log[-1].link, len(log))


@pytest.mark.parametrize("log", THINNED)
@pytest.mark.parametrize("hashed", [False, True])
def test_no_change_beside_a_gap_passes(log: list[Entry], hashed: bool) -> None:
    """With the hash that fits it, too: where the next record is gone, the record of that has the hash of before."""
    hashes = {entry.link.seq: entry.link.hash for entry in [*TEN, *log]} | {0: BEFORE_ALL.hash}
    for index, (link, record) in enumerate(log):
        other = record._replace(identity="somebody else")
        forged = chained(Link(link.seq - 1, hashes[link.seq - 1]), other) if hashed else Entry(link, other)
        proof = proof_of([*log[:index], forged, *log[index + 1 :]], log[-1].link)
        assert not proof.fits
        assert proof.wrong in (link.seq, link.seq + 1)
        assert proof.records <= index + 1


@pytest.mark.parametrize("log", THINNED)
def test_nothing_more_may_be_missing_beside_a_gap(log: list[Entry]) -> None:
    for index in range(len(log)):
        assert not proof_of([*log[:index], *log[index + 1 :]], log[-1].link).fits


def gap(**fields: Any) -> list[Entry]:
    """A log without the records 4 to 6, of which the record has other fields."""
    *others, said = thinned(TEN, 4, 6)
    return [*others, chained(TEN[-1].link, said.record._replace(**fields))]


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (gap(what="0" * 64), "record 3 does not fit: the record of what was dropped behind it has another hash"),
        (gap(detail="0" * 64), "record 7 does not fit"),
        (gap(upto=5, events=2, detail=TEN[4].link.hash), "record 6 is missing: 7 follows 5"),
        (gap(upto=7, events=4, detail=TEN[6].link.hash), "record 7 is there, and another one says that it was dropped"),
        (gap(events=2), "records 4 to 6 are missing: 7 follows 3"),
        (gap(events=0, upto=3), "records 4 to 6 are missing: 7 follows 3"),
        (gap(events="3"), "records 4 to 6 are missing: 7 follows 3"),
        (gap(upto="6"), "records 4 to 6 are missing: 7 follows 3"),
        (gap(kind=Kind.PRUNE), "records 4 to 6 are missing: 7 follows 3"),
    ],
)
def test_a_gap_of_another_form_is_none(log: list[Entry], why: str) -> None:
    assert proof_of(log).why.startswith(why)


def test_records_that_were_dropped_and_are_there_do_no_harm() -> None:
    """As in the file of JSON lines, which keeps them."""
    log = [*TEN, thinned(TEN, 4, 6)[-1]]
    proof = proof_of(log)
    assert (proof.why, proof.records) == ("", 11)


def test_a_gap_with_another_hash_says_what_is_proved_before_it() -> None:
    """Behind another gap, or before all records, no record is in doubt."""
    two = thinned(thinned(TEN, 4, 6), 7, 7)
    two[-1] = chained(two[-2].link, two[-1].record._replace(what="0" * 64))
    first = thinned(TEN, 1, 3)
    first[-1] = chained(first[-2].link, first[-1].record._replace(what="1" * 64))
    found = [proof_of(log) for log in (two, first)]
    assert [(proof.wrong, proof.head.seq, proof.records) for proof in found] == [(6, 3, 3), (0, 0, 0)]


def test_an_anchor_in_a_gap_proves_nothing_any_more() -> None:
    log = thinned(TEN, 4, 6)
    assert proof_of(log, TEN[5].link).fits  # the last one of the run: its hash is known
    proof = proof_of(log, TEN[4].link)
    why = "record 5, which the anchor is of, was dropped from a flood. Take a newer anchor"
    assert (proof.why, proof.wrong) == (why, 5)
    assert "is not the one of the anchor" in proof_of(log, Link(6, "0" * 64)).why
