"""The rows of the port table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from ferry.config.policy_file import parse_policy
from ferry.gateway.port_table import PortTable, Up
from ferry.kinds.rules import PortRange, Purpose
from ferry.names import Address, Fingerprint, IdentityId, Kind
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import NoPortLines, PortLine, ports_in
from ferry.policy.rulebook import Rulebook
from ferry.protocol.key_options import parse_options
from ferry.registry.contract import NEVER, Reservation
from ferry.store.machines import Known, KnownKey, Machine
from granted import RULES
from known_system import KNOWN

NOW = 1000.0
ANN, BOB = IdentityId("ann"), IdentityId("bob")
KEY = Fingerprint("SHA256:" + "w" * 43)
FLEET = replace(
    RULES, ranges=(PortRange(21000, 22999, loopback=True),), purposes=(Purpose("ssh", 21000, 21999),), keep=100.0
)
NOBODY = Known({}, {}, {})


def reservation(
    port: int, owner: IdentityId = ANN, *, label: str | None = None, last_used: float = NOW - 10
) -> Reservation:
    return Reservation(
        Address(Kind.TCP, "", port), owner, f"{owner} (SHA256:{owner})", derived=False, created=NOW - 50,
        last_used=last_used, label=label,
    )  # fmt: skip


def line(port: int, name: str | None = None) -> dict[int, list[PortLine]]:
    options = parse_options(f'permitlisten="{port}"', KNOWN)
    return dict(ports_in([(KEY, [KeyLine(name, options, None, "/keys", 3)])]))


class FileLines(NoPortLines):
    """The lines of key files."""

    def __init__(self, ports: dict[int, list[PortLine]], in_vain: dict[int, list[PortLine]]) -> None:
        self._ports = ports
        self._in_vain = in_vain

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        return self._ports

    def ports_in_vain(self) -> Mapping[int, Sequence[PortLine]]:
        return self._in_vain

    def comment_of(self, fingerprint: Fingerprint) -> str:
        return "root@web-1" if fingerprint == KEY else ""


def table(
    *reservations: Reservation,
    lines: dict[int, list[PortLine]] | None = None,
    up: dict[int, Up] | None = None,
    known: Known = NOBODY,
    in_vain: dict[int, list[PortLine]] | None = None,
) -> list[tuple[object, ...]]:
    """The rows: port, host, label, holder, state, since, whether it is for good."""
    made = PortTable(reservations, FileLines(lines or {}, in_vain or {}), up or {}, known, FLEET, NOW)
    return [
        (
            row.port,
            row.host,
            row.label,
            row.holder.split()[0],
            row.state,
            row.since and row.since.timestamp(),
            row.kept_for_good,
        )
        for row in made.rows()
    ]


def test_a_port_is_up_down_or_was_never_seen() -> None:
    rows = table(
        reservation(21003, label="ssh", last_used=NEVER), reservation(21002, label=""), reservation(21001, label="ssh:second"),
        up={21001: Up(ANN, "ann (SHA256:ann)", NOW - 5)},
    )  # fmt: skip
    assert rows == [
        (21001, None, "ssh:second", "ann", "up", NOW - 5, True),
        (21002, None, "ssh", "ann", "down", NOW - 10, True),
        (21003, None, "ssh", "ann", "never seen", NOW - 50, True),
    ]


def test_a_reservation_that_has_run_out_is_no_row_unless_it_is_up() -> None:
    old = reservation(22001, last_used=NOW - 200)
    assert table(old) == []
    assert table(old, up={22001: Up(ANN, "ann", NOW - 5)}) == [(22001, None, None, "ann", "up", NOW - 5, False)]
    assert table(old, up={22001: Up(BOB, "bob", NOW - 5)}) == [(22001, None, None, "bob", "up", NOW - 5, False)]


def test_a_port_is_not_kept_until_a_time_while_it_is_up() -> None:
    held = (reservation(22001),)
    for up, left in (({}, 90.0), ({22001: Up(ANN, "ann", NOW - 5)}, None)):
        (row,) = PortTable(held, FileLines({}, {}), up, NOBODY, FLEET, NOW).rows()
        assert (row.kept_until and row.kept_until.timestamp() - NOW) == left


def test_a_tunnel_without_a_reservation_has_a_row_and_other_kinds_have_none() -> None:
    web = replace(reservation(22001), address=Address(Kind.HTTP, "blog.example.com"))
    assert table(web, up={22002: Up(BOB, "anonymous", NOW)}) == [(22002, None, None, "anonymous", "up", NOW, False)]


def test_a_line_and_the_reservation_of_its_key_are_one_row_and_those_of_another_are_two() -> None:
    known = Known(
        {ANN: Machine("web-1", "web-1.example"), BOB: Machine(None, None)},
        {KEY: KnownKey(BOB, 1.0, entered=False)},
        {"web-1": ANN},
    )
    lines = line(21001, "web-1")
    assert table(reservation(21001, label="ssh"), lines=lines, known=known) == [
        (21001, "web-1.example", "ssh", "ann", "down", NOW - 10, True)
    ]
    assert table(reservation(21001, BOB), lines=lines, known=known) == [
        (21001, None, "ssh", "bob", "down", NOW - 10, False),
        (21001, "web-1.example", "ssh", "web-1", "never seen", None, True),
    ]
    old = reservation(21001, last_used=NOW - 200)
    assert table(old, lines=lines, known=known, up={21001: Up(ANN, "ann", NOW - 5)}) == [
        (21001, "web-1.example", "ssh", "ann", "up", NOW - 5, False)
    ]
    assert table(reservation(21001, BOB), lines=line(21001), known=known) == [
        (21001, None, "ssh", "bob", "down", NOW - 10, False)
    ]


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ('who = "*"\npublish.ports = "*"', ["down", "never seen", "never seen"]),
        ('who = "*"\npublish.ports = "*"\nfrom = "10.0.0.0/8"', ["down", "never seen", "never seen"]),
        ('who = "*"\npublish.ports = "*"\nuntil = 1970-01-01T00:00:01Z', ["no rule", "no rule", "no rule"]),
        ('who = "ann"\npublish.ports = "21001"', ["down", "no rule", "no rule"]),
        (f'who = "{KEY}"\npublish.ports = "21001-21002"', ["down", "never seen", "no rule"]),
        ('who = "web-3"\npublish.ports = "21003"', ["no rule", "no rule", "never seen"]),
        ('who = "*"\nreach.ports = "*"', ["no rule", "no rule", "no rule"]),
    ],
)
def test_a_port_that_no_rule_lets_its_holder_publish_says_so(rule: str, states: list[str]) -> None:
    book = Rulebook(parse_policy(f"[[rule]]\n{rule}\n", "/policy", {}))
    known = Known({ANN: Machine("ann", None)}, {KEY: KnownKey(ANN, 1.0, entered=False)}, {"ann": ANN})
    other = PortLine(Fingerprint("SHA256:" + "o" * 43), line(21003, "web-3")[21003][0].line)
    lines = FileLines({**line(21002, "ann"), 21003: [other]}, {})
    up = {21004: Up(ANN, "ann", NOW)}
    reserved = (reservation(21001, label="ssh"), reservation(21004, label="ssh"))
    rows = PortTable(reserved, lines, up, known, FLEET, NOW, book).rows()
    assert [row.state for row in rows] == [*states, "up"]


def test_the_holder_of_a_certificate_is_not_judged_by_its_key() -> None:
    """The rules know it by its CA and key id."""
    book = Rulebook(parse_policy('[[rule]]\nwho = "zoe"\npublish.ports = "*"\n', "/policy", {}))
    known = Known({ANN: Machine(None, None)}, {Fingerprint(f"{KEY} web-1"): KnownKey(ANN, 1.0, entered=False)}, {})
    rows = PortTable((reservation(21001),), FileLines({}, {}), {}, known, FLEET, NOW, book).rows()
    assert [row.state for row in rows] == ["down"]


def test_a_line_with_a_port_outside_all_ranges_is_no_row() -> None:
    assert table(lines=line(80)) == []
    assert table(lines=line(22001, "web-1")) == [(22001, "web-1", None, "web-1", "never seen", None, True)]


def test_a_line_that_is_disabled_or_refused_says_so_and_names_its_place() -> None:
    known = Known({ANN: Machine("web-1", None)}, {KEY: KnownKey(ANN, 1.0, entered=False)}, {"web-1": ANN})
    in_vain = {21001: [PortLine(KEY, KeyLine("web-1", file="/keys", number=3), "disabled")]}
    given = PortTable((reservation(21001, label="ssh"),), FileLines({}, in_vain), {}, known, FLEET, NOW)
    assert [(row.state, row.lines, row.kept_for_good) for row in given.rows()] == [
        ("disabled", ["/keys, line 3"], True)
    ]
    alone = {21002: [PortLine(KEY, KeyLine("web-2", file="/keys", number=4), "refused")]}
    assert table(in_vain=alone) == [(21002, "web-2", "ssh", "web-2", "refused", None, False)]
    still_up = PortTable(
        (reservation(21001, label="ssh"),), FileLines({}, in_vain), {21001: Up(ANN, "web-1", NOW)}, known, FLEET, NOW
    )
    assert [(row.state, row.lines) for row in still_up.rows()] == [("up", [])]
    both = FileLines({21001: [PortLine(KEY, KeyLine("web-1", file="/keys", number=2))]}, in_vain)
    beside = PortTable((reservation(21001, label="ssh"),), both, {}, known, FLEET, NOW)
    assert [(row.state, row.lines) for row in beside.rows()] == [("down", ["/keys, line 2"])]


def test_a_key_without_a_name_has_its_comment_and_a_port_its_addresses() -> None:
    for name, comment in ((None, "root@web-1"), ("web-1", "")):
        known = Known(
            {ANN: Machine(name, None), BOB: Machine(None, None)}, {KEY: KnownKey(ANN, 1.0, entered=False)}, {}
        )
        up = {21001: Up(ANN, "SHA256:web", NOW, ("0.0.0.0", "[::]"))}
        rows = PortTable((reservation(21002, BOB),), FileLines({}, {}), up, known, FLEET, NOW).rows()
        assert [(row.comment, row.bound) for row in rows] == [(comment, ["0.0.0.0", "[::]"]), ("", [])]
