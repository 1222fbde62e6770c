from __future__ import annotations

from ferry.names import IdentityId
from ferry.ssh.refusals import RefusedForward, RefusedForwards, RefusedOpens

REFUSAL_IDENTITIES = 4096
REFUSALS_REMEMBERED = 20
OPENS_TOLD = 20
MANY = 5_000


def refusal(number: int = 0) -> RefusedForward:
    return RefusedForward(f"-R {number}", "no such port", "port_outside", 0.0)


def test_many_refused_identities_take_bounded_memory() -> None:
    refusals = RefusedForwards()
    people = [IdentityId(f"i{number}") for number in range(MANY)]
    for person in people:
        refusals.remember(person, refusal())
    kept = [person for person in people if refusals.of(person)]
    assert kept == people[-REFUSAL_IDENTITIES:]
    assert len(kept) < MANY


def test_an_identity_refused_again_and_again_keeps_its_last_refusals() -> None:
    refusals, busy = RefusedForwards(), IdentityId("busy")
    for number in range(MANY):
        refusals.remember(busy, refusal(number))
        refusals.remember(IdentityId(f"i{number}"), refusal())
    expected = [refusal(number) for number in range(MANY)][-REFUSALS_REMEMBERED:]
    assert refusals.of(busy) == expected
    assert len(expected) < 100
    assert refusals.of(IdentityId("nobody")) == []


def test_a_refused_open_is_told_once_for_each_of_a_few_targets() -> None:
    opens = RefusedOpens()
    assert opens.notice(b"example.com", 80, "no") == "Refused a connection to example.com:80: no"
    assert opens.notice(b"example.com", 80, "no") is None
    assert opens.notice(b"::1", 80, "no") == "Refused a connection to [::1]:80: no"
    assert opens.notice(b"\x1b[2J\xff", 80, "no") == r"Refused a connection to \x1b[2J\xff:80: no"
    lines = [opens.notice(b"h%d" % number, 80, "no") for number in range(MANY)]
    told = [line for line in lines if line is not None]
    assert len(told) == OPENS_TOLD - 3
    assert told[-1].endswith("no (later ones are not shown)")
