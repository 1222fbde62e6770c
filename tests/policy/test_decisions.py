"""Decisions on publishing and visiting addresses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.config.policy_file import parse_policy
from ferry.errors import LocalProtocolError, Refusal
from ferry.hostnames import Domain
from ferry.kinds.base import ForwardRequest
from ferry.kinds.rules import ForwardRules, PortRange
from ferry.names import Address, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.allowance import Allowance
from ferry.policy.forwards import (
    candidate_addresses,
    check_counts,
    count_beside,
    limited_by,
    listen_grant,
    login_name_address,
    request_refusal,
    requested,
)
from ferry.policy.grants import Grant, Use
from ferry.policy.judge import Judge
from ferry.policy.keys import KeyLine
from ferry.policy.principals import Principal, PublicVisitor
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.policy.sshd import SshdOptions
from ferry.policy.visits import Target, VisitPolicy
from ferry.protocol.key_options import parse_options
from ferry.protocol.permits import Permit
from granted import granted
from known_system import KNOWN

LOOPBACK, PUBLIC = PortRange(21000, 22999, loopback=True), PortRange(30000, 39999, loopback=False)
RULES = ForwardRules(
    domain=Domain("example.com"), reserved_names=frozenset({"admin"}), ranges=(LOOPBACK, PUBLIC), allocate_from=PUBLIC,
    serves_web=True, keep=100.0, rest=10.0, reserve_after=0.0, reservations_per_identity=20, reservations_per_network=None, forwards_per_connection=3,
    forwards_per_identity=5,
)  # fmt: skip
ALICE = Identity(IdentityId("alice"), "alice", Fingerprint("SHA256:a"))
BOB = Identity(IdentityId("bob"), None, Fingerprint("SHA256:b"))
NOBODY = Identity(IdentityId("anonymous:1"), None, None, anonymous=True)
BLOG = Address(Kind.HTTP, "blog.example.com")
LAPTOP = Address(Kind.ALIAS, "laptop", 22)
PORT = Address(Kind.TCP, "", 30042)
POLICY = VisitPolicy("gw")


def refusal_of(wanted: ForwardRequest, rules: ForwardRules = RULES, identity: Identity = ALICE) -> Refusal:
    address = requested(wanted, rules)
    return refused(listen_grant(identity, address, rules) if isinstance(address, Address) else address)


def refused(outcome: object) -> Refusal:
    assert isinstance(outcome, Refusal)
    return outcome


class OnlyFrom:
    """A rule: the public visits BLOG from one address alone; identities may go everywhere."""

    def __init__(self, host: str) -> None:
        self.host = host

    def depends_on_visitor(self, target: Target) -> bool:
        return target.address == BLOG

    def refusal(self, who: Principal, target: Target) -> Refusal | None:
        if target.address != BLOG or isinstance(who, Identity) or who.host == self.host:
            return None
        return Refusal("not from there", code="from", rule=f"from={self.host}")


class Closed:
    """A rule: no visitor may visit BLOG."""

    def depends_on_visitor(self, target: Target) -> bool:
        del target
        return False

    def refusal(self, who: Principal, target: Target) -> Refusal | None:
        del who
        return Refusal("closed", code="closed") if target.address == BLOG else None


def test_an_address_requested_by_name_or_number() -> None:
    assert requested(ForwardRequest(Kind.HTTP, "blog", 0), RULES) == BLOG
    assert requested(ForwardRequest(Kind.ALIAS, "laptop", 22), RULES) == LAPTOP
    assert requested(ForwardRequest(Kind.TCP, None, 30042), RULES) == PORT
    assert requested(ForwardRequest(Kind.HTTP, None, 0), RULES) is None
    assert requested(ForwardRequest(Kind.TCP, None, 0), RULES) is None


@pytest.mark.parametrize(
    ("identity", "address"), [(ALICE, BLOG), (ALICE, LAPTOP), (ALICE, PORT), (NOBODY, BLOG), (NOBODY, PORT)]
)
def test_an_allowed_address_is_granted_to_its_identity_for_listening_only(identity: Identity, address: Address) -> None:
    grant = granted(listen_grant(identity, address, RULES))
    grant.require(address, identity.id, Use.LISTEN)
    for other in ((BOB.id, Use.LISTEN), (identity.id, Use.VISIT)):
        with pytest.raises(LocalProtocolError):
            grant.require(address, *other)


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


@pytest.mark.parametrize(
    ("port", "web", "said"),
    [
        (3000, True, True), (80, True, True), (3000, False, False), (80, False, False),
    ],
)  # fmt: skip
def test_a_web_address_is_offered_for_another_port_where_there_are_any(port: int, *, web: bool, said: bool) -> None:
    told = refusal_of(ForwardRequest(Kind.TCP, None, port), replace(RULES, serves_web=web)).public
    assert ("web address" in told) is said


def test_a_forward_that_is_allowed_no_longer_counts_for_the_limit_of_all_others() -> None:
    anns = '[[rule]]\nname = "anns"\nwho = "alice"\npublish.ports = "21000-21999"\nmost.forwards = 3\n'
    judge = Judge(Rulebook(parse_policy(anns, "/policy", {})), Asker.of(ALICE, "192.0.2.7", "192.0.2.7", 0.0))
    mine = Address(Kind.TCP, "", 21022)
    held = limited_by([mine, PORT], RULES, judge)
    assert [rule and rule.name for rule in held.values()] == ["anns", None]
    assert count_beside(BLOG, held, None) == 1


@pytest.mark.parametrize(
    ("options", "permits", "ask"),
    [
        ('permitlisten="80"', None, 'ask the operator for permitlisten="blog:80")'),
        ("", (Permit("*", 80, bare=True),), "ask the operator for blog:80 in it)"),
        ("restrict", None, None), ("", (Permit("blog", 80),), None),
    ],
)  # fmt: skip
def test_who_has_a_name_by_the_login_name_reads_why_a_list_of_ports_does_not_allow_it(
    options: str, permits: tuple[Permit, ...] | None, ask: str | None
) -> None:
    may = Allowance(KeyLine(options=parse_options(options, KNOWN)), SshdOptions(permit_listen=permits))
    refusal = request_refusal(may, ForwardRequest(Kind.HTTP, "blog", 0, by_login_name=True), (b"localhost", 80), RULES)
    said = "" if refusal is None else refusal.public
    assert ("your login name means blog.example.com, which you own" in said) is (ask is not None)
    assert said.endswith(ask or "")
    assert (refusal is None) is (permits == (Permit("blog", 80),))


@pytest.mark.parametrize(("connection", "identity", "code"), [(3, 3, "connection_limit"), (0, 5, "identity_limit")])
def test_counts(connection: int, identity: int, code: str) -> None:
    refusal = refused(check_counts(RULES, on_connection=connection, of_identity=identity, gateway="gw"))
    assert refusal.code == code
    assert ("`ssh gw ls` lists them" in refusal.public) == (code == "identity_limit")
    assert check_counts(RULES, on_connection=min(connection, 2), of_identity=identity - 1, gateway="gw") is None


def test_candidates_begin_with_earlier_addresses_and_repeat_none() -> None:
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


@pytest.mark.parametrize("edge", ["http", "https", "tcp"])
def test_the_public_visits_everything_but_aliases(edge: str) -> None:
    anybody = PublicVisitor("192.0.2.1", edge)
    for address in (BLOG, PORT):
        target = Target(address, ALICE.id)
        for decision in (POLICY.decide(anybody, target), POLICY.decide_for_all(target)):
            assert decision is not None
            granted(decision).require(address, ALICE.id, Use.VISIT)
    for owner in (ALICE.id, None):
        assert refused(POLICY.decide(anybody, Target(LAPTOP, owner))).code == "private"
        assert refused(POLICY.decide_for_all(Target(LAPTOP, owner))).code == "private"


def test_identities_visit_ports_like_anonymous_visitors() -> None:
    for visitor in (ALICE, BOB, NOBODY):
        grant = granted(POLICY.decide(visitor, Target(PORT, ALICE.id)))
        grant.require(PORT, ALICE.id, Use.VISIT)


def test_an_alias_is_its_own_identitys_alone() -> None:
    granted(POLICY.decide(ALICE, Target(LAPTOP, ALICE.id))).require(LAPTOP, ALICE.id, Use.VISIT)
    for visitor, owner in ((BOB, ALICE.id), (NOBODY, ALICE.id), (NOBODY, NOBODY.id)):
        refusal = refused(POLICY.decide(visitor, Target(LAPTOP, owner)))
        assert refusal.public.endswith(": `ssh gw ls` lists yours")
        assert str(owner) not in refusal.public  # whose it is, or that it is, stays in the log
        assert str(owner) in refusal.detail


def test_an_unserved_alias_gets_the_refusal_of_a_foreign_one() -> None:
    nobodys, anothers = (refused(POLICY.decide(BOB, Target(LAPTOP, owner))) for owner in (None, ALICE.id))
    assert (nobodys.public, nobodys.code) == (anothers.public, anothers.code)
    assert nobodys.detail == f"{BOB} asked for laptop:22, which nobody serves"


@pytest.mark.parametrize(
    "target",
    [
        Target(BLOG, None),
        Target(PORT, None),
        Target(LAPTOP, None, named=True),
        Target(PORT, None, private=True, named=True),
    ],
)
def test_nobody_visits_what_nobody_serves(target: Target) -> None:
    """Also where the operator, or the key, has named it."""
    decisions: list[Grant | Refusal | None] = [POLICY.decide(who, target) for who in (PublicVisitor("", "tcp"), ALICE)]
    for decision in (*decisions, POLICY.decide_for_all(target)):
        assert isinstance(decision, Refusal)


def test_a_rule_that_tells_visitors_apart_is_asked_about_each() -> None:
    policy = VisitPolicy("gw", (OnlyFrom("192.0.2.1"),))
    blog, port = Target(BLOG, ALICE.id), Target(PORT, ALICE.id)
    assert policy.decide_for_all(blog) is None
    assert isinstance(policy.decide_for_all(port), Grant)
    granted(policy.decide(PublicVisitor("192.0.2.1", "http"), blog)).require(BLOG, ALICE.id, Use.VISIT)
    granted(policy.decide(BOB, blog))
    assert refused(policy.decide(PublicVisitor("192.0.2.2", "http"), blog)).rule == "from=192.0.2.1"


def test_a_rule_that_treats_all_visitors_alike_is_asked_once() -> None:
    policy = VisitPolicy("gw", (OnlyFrom("192.0.2.1"), Closed()))
    assert policy.decide_for_all(Target(BLOG, ALICE.id)) is None  # the other one does
    assert refused(policy.decide(PublicVisitor("192.0.2.1", "http"), Target(BLOG, ALICE.id))).code == "closed"
    assert refused(VisitPolicy("gw", (Closed(),)).decide_for_all(Target(BLOG, ALICE.id))).code == "closed"
    assert isinstance(VisitPolicy("gw", (Closed(),)).decide_for_all(Target(PORT, ALICE.id)), Grant)


def test_no_rule_opens_a_private_alias() -> None:
    assert refused(VisitPolicy("gw", (OnlyFrom(""),)).decide(BOB, Target(LAPTOP, ALICE.id))).code == "no_such_alias"


def test_a_grant_is_good_for_one_address_of_one_owner() -> None:
    for who, own, other in ((PublicVisitor("192.0.2.1", "http"), BLOG, PORT), (ALICE, LAPTOP, BLOG)):
        grant = granted(POLICY.decide(who, Target(own, ALICE.id)))
        grant.require(own, ALICE.id, Use.VISIT)
        grant.require(replace(own), ALICE.id, Use.VISIT)
        for address, owner, use in (
            (other, ALICE.id, Use.VISIT),
            (own, BOB.id, Use.VISIT),
            (own, ALICE.id, Use.LISTEN),
        ):
            with pytest.raises(LocalProtocolError, match=f"used to {use.name} at {address} of {owner}"):
                grant.require(address, owner, use)


def test_a_grant_cannot_be_made_or_changed_elsewhere() -> None:
    with pytest.raises(LocalProtocolError):
        Grant(LAPTOP, ALICE.id, Use.VISIT, object())
    grant = granted(POLICY.decide(ALICE, Target(BLOG, ALICE.id)))
    with pytest.raises(AttributeError):
        grant.address = LAPTOP  # type: ignore[misc]  # that it cannot be is the point
