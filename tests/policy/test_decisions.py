"""Who may publish and visit what, and under which addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.errors import LocalProtocolError, Refusal
from ferry.hostnames import Domain
from ferry.kinds.base import ForwardRequest
from ferry.kinds.rules import ForwardRules, PortRange
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.forwards import (
    candidate_addresses,
    check_counts,
    login_name_address,
    requested,
)
from ferry.policy.grants import Grant
from ferry.policy.visits import alias_visit, owner_visit, public_visit

LOOPBACK, PUBLIC = PortRange(21000, 22999, loopback=True), PortRange(30000, 39999, loopback=False)
RULES = ForwardRules(
    domain=Domain("example.com"), reserved_names=frozenset({"admin"}), ranges=(LOOPBACK, PUBLIC), allocate_from=PUBLIC, keep=100.0,
    rest=10.0, reserve_after=0.0, reservations_per_identity=20, reservations_per_network=None, forwards_per_connection=3,
    forwards_per_identity=5,
)  # fmt: skip
ALICE = Identity(IdentityId("alice"), "alice", Fingerprint("SHA256:a"))
BOB = Identity(IdentityId("bob"), None, Fingerprint("SHA256:b"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
BLOG = Address(Kind.HTTP, "blog.example.com")
LAPTOP = Address(Kind.ALIAS, "laptop", 22)


def refusal_of(wanted: ForwardRequest, rules: ForwardRules = RULES, identity: Identity = ALICE) -> Refusal:
    return refused(requested(wanted, rules, identity))


def refused(outcome: object) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


def granted(outcome: Grant | Refusal) -> Grant:
    assert isinstance(outcome, Grant)
    return outcome


def test_what_is_asked_for_by_name_or_number() -> None:
    assert requested(ForwardRequest(Kind.HTTP, "blog", 0), RULES, ALICE) == BLOG
    assert requested(ForwardRequest(Kind.ALIAS, "laptop", 22), RULES, ALICE) == LAPTOP
    assert requested(ForwardRequest(Kind.TCP, None, 30042), RULES, NOBODY) == Address(Kind.TCP, "", 30042)
    assert requested(ForwardRequest(Kind.HTTP, None, 0), RULES, ALICE) is None
    assert requested(ForwardRequest(Kind.TCP, None, 0), RULES, ALICE) is None


def test_refusals_name_the_fix() -> None:
    assert refusal_of(ForwardRequest(Kind.HTTP, "admin", 0)).code == "reserved_name"
    assert refusal_of(ForwardRequest(Kind.ALIAS, "admin", 22)).code == "reserved_name"
    assert refusal_of(ForwardRequest(Kind.ALIAS, "laptop", 22), identity=NOBODY).code == "needs_key"
    outside = refusal_of(ForwardRequest(Kind.TCP, None, 22))
    assert outside.code == "port_outside"
    assert "21000 to 22999 and 30000 to 39999" in outside.public
    assert "-R NAME:22:... for a private alias" in outside.public
    assert refusal_of(ForwardRequest(Kind.TCP, None, 0), replace(RULES, allocate_from=None)).code == "no_ports"
    assert "(none)" in refusal_of(ForwardRequest(Kind.TCP, None, 5000), replace(RULES, ranges=())).public


@pytest.mark.parametrize(("connection", "identity", "code"), [(3, 3, "connection_limit"), (0, 5, "identity_limit")])
def test_counts(connection: int, identity: int, code: str) -> None:
    refusal = refused(check_counts(RULES, on_connection=connection, of_identity=identity, gateway="gw"))
    assert refusal.code == code
    assert ("`ssh gw ls` lists them" in refusal.public) == (code == "identity_limit")
    assert check_counts(RULES, on_connection=min(connection, 2), of_identity=identity - 1, gateway="gw") is None


def test_our_choice_begins_with_what_was_given_before_and_repeats_nothing() -> None:
    had = [BLOG, LAPTOP, Address(Kind.TCP, "", 30042)]
    web = list(candidate_addresses(ForwardRequest(Kind.HTTP, None, 0), RULES, ALICE, b"secret", had))
    assert web[0] == BLOG
    assert len(web) == len(set(web)) > 50
    assert all(address.kind is Kind.HTTP and address.name.endswith(".example.com") for address in web)
    ports = list(candidate_addresses(ForwardRequest(Kind.TCP, None, 0), RULES, ALICE, b"secret", had))
    assert ports[0].port == 30042
    assert len(ports) == len(set(ports)) > 50
    assert all(address.port in PUBLIC for address in ports)


def test_a_port_of_a_range_that_is_no_longer_allocated_from_is_not_given_again() -> None:
    old = Address(Kind.TCP, "", 21005)
    assert old not in candidate_addresses(ForwardRequest(Kind.TCP, None, 0), RULES, ALICE, b"secret", [old])


def test_our_choice_depends_on_the_identity_and_the_secret_alone() -> None:
    def first(identity: Identity, secret: bytes) -> Address:
        return next(candidate_addresses(ForwardRequest(Kind.HTTP, None, 0), RULES, identity, secret, []))

    assert (
        first(ALICE, b"s") == first(ALICE, b"s") == first(replace(ALICE, fingerprint=Fingerprint("SHA256:new")), b"s")
    )
    assert len({first(ALICE, b"s"), first(BOB, b"s"), first(ALICE, b"t")}) == 3


@pytest.mark.parametrize(("user", "host"), [("blog", "blog.example.com"), ("Blog", "blog.example.com"), ("admin", None),
                                            ("my.blog", None), ("", None), ("x" * 64, None), ("-blog", None), ("blog-", None),
                                            ("xn--bcher-kva", None)])  # fmt: skip
def test_a_login_name_that_can_be_a_name(user: str, host: str | None) -> None:
    address = login_name_address(user, Kind.HTTP, RULES)
    assert (address.name if address else None) == host
    assert login_name_address(user, Kind.TCP, RULES) is None


def test_the_public_visits_everything_but_aliases() -> None:
    for address in (BLOG, Address(Kind.TCP, "", 30042)):
        granted(public_visit(address)).require(address)
    assert refused(public_visit(LAPTOP)).code == "private"


def test_an_alias_is_its_own_identitys_alone() -> None:
    granted(alias_visit(LAPTOP, ALICE, ALICE.id, "gw")).require(LAPTOP)
    for visitor, owner in ((BOB, ALICE.id), (NOBODY, ALICE.id), (NOBODY, NOBODY.id)):
        refusal = refused(alias_visit(LAPTOP, visitor, owner, "gw"))
        assert refusal.public.endswith(": `ssh gw ls` lists yours")
        assert str(owner) not in refusal.public  # whose it is, or that it is, stays in the log
        assert str(owner) in refusal.detail


def test_a_grant_is_good_for_one_address() -> None:
    for grant, own, other in ((granted(public_visit(BLOG)), BLOG, LAPTOP), (owner_visit(LAPTOP, ALICE), LAPTOP, BLOG)):
        grant.require(own)
        with pytest.raises(LocalProtocolError):
            grant.require(other)


def test_a_grant_cannot_be_made_or_changed_elsewhere() -> None:
    with pytest.raises(LocalProtocolError):
        Grant(LAPTOP, None, object())
    grant = granted(public_visit(BLOG))
    with pytest.raises(AttributeError):
        grant.address = LAPTOP  # type: ignore[misc]  # that it cannot be is the point
