"""What a client may reach through the gateway."""

from __future__ import annotations

import pytest

from ferry.errors import Refusal
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.grants import Grant, Use
from ferry.policy.keys import KeyLine
from ferry.policy.principals import Principal
from ferry.policy.reach import Wanted, decide_tunnel, unknown
from ferry.policy.visits import Target, VisitPolicy
from ferry.protocol.key_options import parse_options
from granted import granted
from known_system import KNOWN

ALICE = Identity(IdentityId("alice"), "alice", Fingerprint("SHA256:a"))
BOB = Identity(IdentityId("bob"), None, Fingerprint("SHA256:b"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
PORT, LAPTOP = Address(Kind.TCP, "", 21022), Address(Kind.ALIAS, "laptop", 22)
POLICY = VisitPolicy("gw")
ASKED = {PORT: (b"localhost", 21022), LAPTOP: (b"laptop", 22)}


def wanted(who: Identity, address: Address, options: str = "") -> Wanted:
    return Wanted(who, KeyLine(options=parse_options(options, KNOWN), file="keys", number=7), *ASKED[address])


def decided(who: Identity, address: Address, owner: Identity | None, options: str = "") -> Grant | Refusal:
    target = Target(address, None if owner is None else owner.id, private=True)
    return decide_tunnel(wanted(who, address, options), target, POLICY)


@pytest.mark.parametrize("address", [PORT, LAPTOP])
def test_a_port_and_an_alias_are_their_owners_and_theirs_for_whom_they_are_named(address: Address) -> None:
    host, port = ASKED[address]
    named = f'permitopen="{host.decode()}:{port}"'
    for who, options in ((ALICE, ""), (ALICE, named), (BOB, named), (BOB, f'permitopen="*:*",{named}')):
        granted(decided(who, address, ALICE, options)).require(address, ALICE.id, Use.VISIT)
    for options in ("", 'permitopen="*:*"', f'permitopen="*:{port}"', f'permitopen="{host.decode()}:*"'):
        refusal = decided(BOB, address, ALICE, options)
        assert isinstance(refusal, Refusal)
        assert refusal.code in ("no_such_port", "no_such_alias")


@pytest.mark.parametrize("address", [PORT, LAPTOP])
def test_nobody_learns_whether_another_identity_holds_it(address: Address) -> None:
    said = {owner: decided(BOB, address, owner) for owner in (ALICE, None)}
    public = {refusal.public for refusal in said.values() if isinstance(refusal, Refusal)}
    assert public == {f"no {'port 21022' if address is PORT else 'alias laptop:22'} here for you: `ssh gw ls` lists yours"}
    assert "belongs to identity alice" in getattr(said[ALICE], "detail", "")


def test_a_client_without_a_key_reaches_its_own_port() -> None:
    granted(decided(NOBODY, PORT, NOBODY))
    assert isinstance(decided(NOBODY, LAPTOP, NOBODY), Refusal)
    assert isinstance(decided(NOBODY, PORT, ALICE), Refusal)


@pytest.mark.parametrize(
    ("options", "code"),
    [("restrict", "key_forwards"), ('permitopen="desk:22"', "key_open"), ('permitopen="LAPTOP:22"', "key_open")],
)
def test_a_key_reaches_nothing_that_its_options_forbid(options: str, code: str) -> None:
    refusal = decided(ALICE, LAPTOP, ALICE, options)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert (refusal.rule or "").startswith("keys, line 7: ")


class Never:
    """A rule: nobody visits anything."""

    def depends_on_visitor(self, _target: Target) -> bool:
        return False

    def refusal(self, _who: Principal, _target: Target) -> Refusal | None:
        return Refusal("never", code="never")


def test_a_rule_that_refuses_a_visit_does_so_for_those_who_are_named_too() -> None:
    target = Target(LAPTOP, ALICE.id, private=True)
    refusal = decide_tunnel(wanted(BOB, LAPTOP, 'permitopen="laptop:22"'), target, VisitPolicy("gw", (Never(),)))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "never"


def test_an_unknown_target_is_in_the_log_and_not_in_the_answer() -> None:
    refusal = unknown(Wanted(BOB, KeyLine(), b"db.internal\xff", 5432))
    assert refusal.code == "not_yours"
    assert "db" not in refusal.public
    assert r"asked for db.internal\xff:5432" in refusal.detail
