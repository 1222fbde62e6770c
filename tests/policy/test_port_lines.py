"""Ports that lines of key files name are kept for the holders of these keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import Refusal
from ferry.kinds.rules import Purpose
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import PortLine, kept_for_another, lasting_label, naming_own, ports_in, ports_of
from ferry.protocol.key_options import parse_options
from granted import RULES
from known_system import KNOWN

ANN, BOB = Fingerprint("SHA256:ann"), Fingerprint("SHA256:bob")
PORT = Address(Kind.TCP, "", 21022)
FLEET = replace(RULES, purposes=(Purpose("ssh", 21000, 21999),), keeps_ports=True)


def line(options: str, name: str | None = None) -> KeyLine:
    return KeyLine(name, parse_options(options, KNOWN), None, "/keys", 3)


def identity(fingerprint: Fingerprint, name: str | None = None) -> Identity:
    return Identity(IdentityId(str(fingerprint)), name, fingerprint)


@pytest.mark.parametrize(
    ("options", "ports"),
    [
        ('permitlisten="21022"', [21022]),
        ('restrict,port-forwarding,permitlisten="localhost:21022",permitlisten="22022"', [21022, 22022]),
        ('permitlisten="*:21022",permitlisten="21022"', [21022]),
        ('permitlisten="[::1]:21022",permitlisten="0.0.0.0:21023"', [21022, 21023]),
        ('permitlisten="blog:80",permitlisten="web*:21022"', []),
        ('permitlisten="localhost:*",permitlisten="*"', []),
        ('restrict,permitlisten="21022"', []),
        ('permitopen="localhost:21022"', []),
        ("", []),
    ],
)
def test_the_ports_that_a_line_names(options: str, ports: list[int]) -> None:
    assert ports_of(line(options)) == ports


def test_a_port_is_kept_for_the_key_or_the_name_of_its_line() -> None:
    lines = ports_in([(ANN, [line('permitlisten="21022"')]), (BOB, [line('permitlisten="22022"', "bob")])])
    assert kept_for_another(identity(ANN), PORT, lines[21022]) is None
    assert kept_for_another(identity(Fingerprint("SHA256:other"), "bob"), PORT, lines[22022]) is None
    refusal = kept_for_another(identity(BOB, "bob"), PORT, lines[21022])
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.rule) == ("port_kept", "/keys, line 3: permitlisten")
    assert "SHA256:ann" not in refusal.public
    assert "keeps it for SHA256:ann" in refusal.detail
    assert kept_for_another(identity(BOB), PORT, ()) is None


def test_a_port_on_two_lines_is_of_both() -> None:
    lines = ports_in([(ANN, [line('permitlisten="21022"')]), (BOB, [line('permitlisten="21022"')])])[21022]
    assert [kept_for_another(identity(who), PORT, lines) for who in (ANN, BOB)] == [None, None]


def test_the_file_of_a_login_name_keeps_no_ports_from_others() -> None:
    assert ports_in([(ANN, [replace(line('permitlisten="21022"'), user="ann")])]) == {}


def test_ports_with_a_purpose_and_those_of_lines_are_kept_for_good() -> None:
    (other,) = ports_in([(ANN, [line('permitlisten="30042"')])])[30042]
    web, odd = Address(Kind.HTTP, "blog.example.com"), Address(Kind.TCP, "", 30042)
    assert lasting_label(identity(ANN), PORT, FLEET, []) == "ssh"
    assert lasting_label(identity(ANN), PORT, replace(FLEET, keeps_ports=False), []) is None
    assert lasting_label(identity(ANN), odd, FLEET, []) is None
    assert lasting_label(identity(ANN), odd, FLEET, [other]) == ""
    assert lasting_label(identity(BOB), odd, FLEET, [other]) is None
    assert lasting_label(identity(ANN), web, FLEET, []) is None
    nobody = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
    assert lasting_label(nobody, PORT, FLEET, []) is None


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ([], "ask for another"),
        ([21007], "port 21022 belongs to somebody else, and yours is 21007: write -R 21007:..."),
        ([21007, 22007], "and yours are 21007 and 22007: write -R 21007:..."),
        ([1, 2, 3, 4], "yours are 1, 2, 3 and others: write -R 1:..."),
    ],
)
def test_a_refusal_names_the_ports_that_are_ones_own(own: list[int], says: str) -> None:
    taken = Refusal("port 21022 belongs to somebody else: ask for another", code="name_reserved", detail="held by ann")
    named = naming_own(taken, PORT, own)
    assert says in named.public
    assert named.detail.startswith("held by ann")
    assert all(str(port) in named.detail for port in own[:3])


def test_a_port_that_two_lines_name_is_not_advised_to_the_one_who_has_asked_for_it() -> None:
    taken = Refusal("port 21022 belongs to somebody else: ask for another", code="name_reserved", detail="held by ann")
    lines = ports_in([(ANN, [line('permitlisten="21022"')]), (BOB, [line('permitlisten="21022"')])])[21022]
    named = naming_own(taken, PORT, [21022], lines)
    assert "write -R" not in named.public
    assert "is given to two keys" in named.public
    assert named.detail == (
        "held by ann; permitlisten= names it in several lines (/keys, line 3; /keys, line 3): change it in one of them"
    )


def test_other_refusals_stay_as_they_are() -> None:
    other = Refusal("the disk is full", code="store")
    assert naming_own(other, PORT, [21007]) is other


def test_lines_are_told_apart_by_name() -> None:
    assert PortLine(ANN, line("", "web-1")).holder == "web-1 (SHA256:ann)"
    assert PortLine(ANN, line("")).holder == "SHA256:ann"
