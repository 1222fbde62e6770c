"""What a client may reach through the gateway."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from ferry.config.policy_file import parse_policy
from ferry.errors import LocalProtocolError, Refusal
from ferry.names import Address, Endpoint, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.grants import Grant, HostGrant, Use
from ferry.policy.judge import Judge
from ferry.policy.keys import KeyLine
from ferry.policy.principals import Principal
from ferry.policy.reach import (
    Host,
    HostAnswer,
    Wanted,
    decide_address,
    decide_host,
    decide_tunnel,
    explain_host,
    unknown,
)
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.policy.sshd import SshdOptions
from ferry.policy.visits import Target, VisitPolicy
from ferry.protocol.key_options import parse_options
from ferry.protocol.permits import Permit
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
def test_permit_open_of_the_operators_settings_adds_no_right(address: Address) -> None:
    """Which settings count may follow from the login name, and anybody can type that."""
    host, port = ASKED[address]
    target = Target(address, ALICE.id, private=True)
    asked = replace(wanted(BOB, address), sshd=SshdOptions(permit_open=(Permit(host.decode(), port),)))
    assert isinstance(decide_tunnel(asked, target, POLICY), Refusal)
    assert isinstance(decide_host(asked), Refusal)
    named = replace(asked, line=wanted(BOB, address, f'permitopen="{host.decode()}:{port}"').line)
    granted(decide_tunnel(named, target, POLICY)).require(address, ALICE.id, Use.VISIT)
    assert isinstance(decide_host(named), Host)


@pytest.mark.parametrize("address", [PORT, LAPTOP])
def test_nobody_learns_whether_another_identity_holds_it(address: Address) -> None:
    said = {owner: decided(BOB, address, owner) for owner in (ALICE, None)}
    public = {refusal.public for refusal in said.values() if isinstance(refusal, Refusal)}
    assert public == {
        f"no {'port 21022' if address is PORT else 'alias laptop:22'} here for you: `ssh gw ls` lists yours"
    }
    assert "belongs to identity alice: its line has no permitopen=" in getattr(said[ALICE], "detail", "")
    assert getattr(said[None], "detail", "").endswith("which nobody serves")


def test_a_machine_that_is_asked_for_by_its_name_shows_no_port_to_others() -> None:
    called = Address(Kind.ALIAS, "web-1", 22)
    target = Target(PORT, ALICE.id, private=True, called=called)

    def asked(who: Identity, options: str = "") -> Grant | Refusal:
        line = KeyLine(options=parse_options(options, KNOWN))
        return decide_tunnel(Wanted(who, line, b"web-1", 22), target, POLICY)

    for who, options in ((ALICE, ""), (BOB, 'permitopen="web-1:22"')):
        granted(asked(who, options)).require(PORT, ALICE.id, Use.VISIT)
    for options in ("", 'permitopen="*:22"'):
        refusal = asked(BOB, options)
        assert isinstance(refusal, Refusal)
        assert refusal.public == "no alias web-1:22 here for you: `ssh gw ls` lists yours"


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


@pytest.mark.parametrize(
    ("host", "shown"), [(b"db.internal", "db.internal"), (b"::1", "::1"), (b"ann:secret@db\xff", "(14 bytes)")]
)
def test_an_unknown_target_is_in_the_log_and_not_in_the_answer(host: bytes, shown: str) -> None:
    refusal = unknown(Wanted(BOB, KeyLine(), host, 5432))
    assert refusal.code == "not_yours"
    assert "db" not in refusal.public
    assert f"asked for {shown}:5432" in refusal.detail


# --- hosts of the network


def to_host(host: str, port: int, options: str) -> Wanted:
    return Wanted(BOB, KeyLine(options=parse_options(options, KNOWN)), host.encode(), port)


@pytest.mark.parametrize(
    ("host", "options", "named"),
    [
        ("db.internal", 'permitopen="db.internal:5432"', True),
        ("db.internal", 'permitopen="*:*",permitopen="db.internal:5432"', True),
        ("10.0.0.7", 'permitopen="10.0.0.7:5432"', True),
        ("db.internal", "", False),
        ("db.internal", 'permitopen="*:*"', False),
        ("db.internal", 'permitopen="*:5432"', False),
        ("db.internal", 'permitopen="db.internal:*"', False),
        ("*", 'permitopen="*:5432"', False),
    ],
)
def test_a_host_has_to_be_named_without_a_star(host: str, options: str, named: bool) -> None:
    decided = decide_host(to_host(host, 5432, options))
    if named:
        assert isinstance(decided, Host)
        assert decided.name == host
    else:
        assert isinstance(decided, Refusal)
        assert decided.code == "not_yours"


def test_a_host_that_is_named_needs_the_right_to_forward() -> None:
    refusal = decide_host(to_host("db.internal", 5432, 'restrict,permitopen="db.internal:5432"'))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "key_forwards"


def test_a_form_that_hides_an_address_is_refused_even_if_it_is_named() -> None:
    for form in ("2130706433", "127.1", "0x7f.1", "127.0.0.1."):
        refusal = decide_host(to_host(form, 80, f'permitopen="{form}:80"'))
        assert isinstance(refusal, Refusal)
        assert refusal.code == "target_form"


SPECIAL = (
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.169.254", "169.254.170.2", "168.63.129.16",
    "100.100.100.200", "192.0.0.192", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.7", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a00:7",
    "64:ff9b:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:7f00:1::1", "2002:a00:7::1", "fe80::1", "febf::1",
    "fec0::1", "ff02::1", "ff0e::1", "fd00:ec2::254", "fd20:ce::254", "fe80::5efe:7f00:1", "2001:db8::5efe:7f00:1",
    "2001:db8::200:5efe:a00:7",
)  # fmt: skip
ORDINARY = (
    "10.0.0.7", "172.16.0.1", "192.168.1.1", "100.64.0.1", "192.0.2.7", "8.8.8.8", "1.1.1.1", "128.0.0.1", "126.255.255.255",
    "169.253.255.255", "223.255.255.255", "2001:db8::7", "2606:4700::1111", "fd12:3456::1", "2003::1", "2001:1::1",
)  # fmt: skip


@pytest.mark.parametrize("address", SPECIAL)
def test_a_name_leads_to_no_special_address(address: str) -> None:
    wanted = to_host("db.example", 80, 'permitopen="db.example:80"')
    refusal = decide_address(wanted, Host("db.example", None), ip_address(address), here=False)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "target_address"
    assert address not in refusal.public
    assert f"leads to {ip_address(address)}, which is " in refusal.detail
    other = Host("192.0.2.1", ip_address("192.0.2.1"))
    assert isinstance(decide_address(wanted, other, ip_address(address), here=False), Refusal)


@pytest.mark.parametrize("address", [*SPECIAL, *ORDINARY])
def test_an_address_that_is_written_as_such_is_allowed(address: str) -> None:
    found = ip_address(address)
    for here in (False, True):
        grant = decide_address(to_host(address, 80, ""), Host(str(found), found), found, here=here)
        assert isinstance(grant, HostGrant)
        assert grant.endpoint == Endpoint(str(found), 80)


@pytest.mark.parametrize("address", ORDINARY)
def test_a_name_leads_to_an_ordinary_address_unless_it_is_this_hosts(address: str) -> None:
    wanted, host = to_host("db.example", 80, ""), Host("db.example", None)
    assert isinstance(decide_address(wanted, host, ip_address(address), here=False), HostGrant)
    refusal = decide_address(wanted, host, ip_address(address), here=True)
    assert isinstance(refusal, Refusal)
    assert "which is this host" in refusal.detail


def test_localhost_is_loopback_and_nothing_else() -> None:
    wanted, host = to_host("localhost", 80, ""), Host("localhost", None)
    for address in ("127.0.0.1", "127.0.0.2", "::1"):
        assert isinstance(decide_address(wanted, host, ip_address(address), here=True), HostGrant)
    for address in ("169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1"):
        assert isinstance(decide_address(wanted, host, ip_address(address), here=False), Refusal)
    for name in ("a.localhost", "localhost."):
        assert isinstance(decide_address(wanted, Host(name, None), ip_address("127.0.0.1"), here=True), Refusal)


def test_nobody_else_makes_a_grant_for_a_host() -> None:
    with pytest.raises(LocalProtocolError):
        HostGrant(Endpoint("127.0.0.1", 80), object())


# --- with a policy file


def judge(*permits: str, who: Identity = BOB, services: frozenset[int] = frozenset()) -> Judge:
    """One rule for `who` that allows `permits`, as they stand below [rule.reach]."""
    text = f'[[rule]]\nname = "r"\nwho = ["{who.name or "*"}"]\n[rule.reach]\n' + "\n".join(permits)
    return Judge(Rulebook(parse_policy(text, "/policy", {}), services), Asker.of(who, "192.0.2.7", "192.0.2.7", 0.0))


def test_a_rule_lets_somebody_reach_the_tunnel_of_another_and_the_grant_names_it() -> None:
    for address, permit in ((PORT, 'ports = ["21000-21999"]'), (LAPTOP, 'aliases = ["lap*:22"]')):
        asked = replace(wanted(BOB, address), judge=judge(permit))
        grant = granted(decide_tunnel(asked, Target(address, ALICE.id, private=True), POLICY))
        assert (grant.owner, grant.rule and grant.rule.name) == (ALICE.id, "r")
        missing = decide_tunnel(asked, Target(address, None, private=True), POLICY)
        assert isinstance(missing, Refusal)
        assert missing.code in ("no_such_port", "no_such_alias")


def test_with_a_policy_a_key_needs_a_rule_for_its_own_too_and_permitopen_alone_is_not_enough() -> None:
    nothing = judge('aliases = ["other:22"]', who=ALICE)
    for options in ("", 'permitopen="laptop:22"'):
        asked = replace(wanted(ALICE, LAPTOP, options), judge=nothing)
        for owner in (ALICE, BOB, None):
            target = Target(LAPTOP, None if owner is None else owner.id, private=True)
            refusal = decide_tunnel(asked, target, POLICY)
            assert isinstance(refusal, Refusal)
            assert (refusal.code, refusal.rule) == ("policy", "/policy")
    loop = decide_tunnel(
        replace(wanted(ALICE, PORT), judge=nothing), Target(PORT, ALICE.id, private=True), POLICY, loop=True
    )
    assert granted(loop).rule is None


def test_with_a_policy_the_line_of_the_key_has_to_allow_it_too() -> None:
    asked = replace(wanted(BOB, LAPTOP, 'permitopen="desk:22"'), judge=judge('aliases = ["*:22"]'))
    refusal = decide_tunnel(asked, Target(LAPTOP, ALICE.id, private=True), POLICY)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "key_open"


@pytest.mark.parametrize(
    ("host", "permit", "named"),
    [
        ("db.internal", 'hosts = ["db.internal:5432"]', True),
        ("DB.internal.", 'hosts = ["*.internal:5000-6000"]', True),
        ("10.0.0.7", 'hosts = ["10.0.0.0/8:5432"]', True),
        ("db.internal", 'hosts = ["db.internal:5433"]', False),
        ("db.internal", 'aliases = ["*:*"]', False),
        ("11.0.0.7", 'hosts = ["10.0.0.0/8:5432"]', False),
    ],
)
def test_a_host_is_reached_where_a_rule_allows_it(host: str, permit: str, *, named: bool) -> None:
    decided = decide_host(replace(to_host(host, 5432, ""), judge=judge(permit)))
    assert isinstance(decided, Host) is named


def test_no_pattern_and_no_network_leads_to_the_gateway_itself() -> None:
    """A rule names a special address by its number, or `localhost`."""

    def decided(asked: str, found: str, permit: str, *, here: bool = False) -> str:
        want = replace(to_host(asked, 80, ""), judge=judge(f'hosts = ["{permit}"]'))
        host = decide_host(want)
        assert isinstance(host, Host)
        answer = decide_address(want, host, ip_address(found), here=here)
        return answer.code if isinstance(answer, Refusal) else "granted"

    for permit in ("*:80", "127.0.0.0/8:80", "127.*:80"):
        assert decided("127.0.0.1", "127.0.0.1", permit) == "target_address"
    assert decided("169.254.169.254", "169.254.169.254", "169.254.0.0/16:*") == "target_address"
    assert decided("127.0.0.1", "127.0.0.1", "127.0.0.1:80") == "granted"
    assert decided("localhost", "127.0.0.1", "localhost:80") == "granted"
    assert decided("evil.example", "127.0.0.1", "evil.example:80") == "target_address"
    assert decided("10.0.0.7", "10.0.0.7", "10.0.0.0/8:80") == "granted"
    assert decided("10.0.0.7", "10.0.0.7", "10.0.0.0/8:80", here=True) == "target_address"
    assert decided("10.0.0.7", "10.0.0.7", "10.0.0.7:80", here=True) == "granted"


def test_the_rule_that_does_not_name_an_address_itself_is_told() -> None:
    by_rule = replace(to_host("127.0.0.1", 80, ""), judge=judge('hosts = ["127.*:80"]'))
    by_line = to_host("127.0.0.1", 80, 'permitopen="*:80"')
    told = []
    for wanted in (by_rule, by_line):
        answer = decide_address(wanted, Host("127.0.0.1", None), ip_address("127.0.0.1"), here=False)
        assert isinstance(answer, Refusal)
        told.append(answer.rule)
    assert told == [str(by_rule.host_rule), None]


ADMIN = 4193


@pytest.mark.parametrize(
    ("permit", "asked", "found", "granted_here"),
    [
        ("127.0.0.1:*", "127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1:4000-5000", "127.0.0.1", "127.0.0.1", False),
        ("localhost:*", "localhost", "127.0.0.1", False),
        ("[::1]:4000-5000", "::1", "::1", False),
        ("0.0.0.0:*", "0.0.0.0", "0.0.0.0", False),
        ("10.0.0.7:*", "10.0.0.7", "10.0.0.7", False),
        ("127.0.0.1:4193", "127.0.0.1", "127.0.0.1", True),
        ("127.0.0.0/8:4193", "127.0.0.1", "127.0.0.1", False),
        ("localhost:4193", "localhost", "::1", True),
        ("10.0.0.7:4193", "10.0.0.7", "10.0.0.7", True),
        ("169.254.1.2:*", "169.254.1.2", "169.254.1.2", True),
    ],
)
def test_a_port_of_the_gateways_own_needs_a_rule_for_that_very_port(
    permit: str, asked: str, found: str, *, granted_here: bool
) -> None:
    own = judge(f'hosts = ["{permit}"]', services=frozenset({ADMIN}))
    is_here = asked != "169.254.1.2"
    want = replace(to_host(asked, ADMIN, ""), judge=own)
    host = decide_host(want)
    assert isinstance(host, Host)
    answer = decide_address(want, host, ip_address(found), here=is_here)
    assert isinstance(answer, HostGrant) is granted_here
    if asked != "10.0.0.7":
        assert isinstance(explain_host(want, host), HostAnswer) is granted_here
    other = replace(to_host(asked, ADMIN + 1, ""), judge=own)
    if permit.endswith(("*", "5000")):
        assert isinstance(decide_address(other, host, ip_address(found), here=is_here), HostGrant)


@pytest.mark.parametrize(
    ("host", "by", "says"),
    [
        ("169.254.169.254", 'permitopen="169.254.169.254:80"', "permitopen=: if it answers"),
        ("localhost", 'permitopen="localhost:80"', "permitopen=: if it answers"),
        ("db.example", 'permitopen="db.example:80"', "permitopen=: if it is there and its address is no special one"),
        ("169.254.169.254", "169.254.169.254:80", "r: if it answers"),
        ("169.254.169.254", "169.254.0.0/16:80", "target_address"),
        ("169.254.169.254", "*:80", "target_address"),
        ("localhost", "local*:80", "target_address"),
        ("10.0.0.7", "10.0.0.0/8:80", "r: if it answers and is no address of the gateway itself"),
        ("10.0.0.7", "10.0.0.7:80", "r: if it answers"),
        ("db.example", "*.example:80", "r: if it is there and its address is no special one"),
    ],
)
def test_a_host_is_explained_by_what_allows_it_and_what_its_name_alone_does_not_tell(
    host: str, by: str, says: str
) -> None:
    asked = to_host(host, 80, by if "=" in by else "")
    if "=" not in by:
        asked = replace(asked, judge=judge(f'hosts = ["{by}"]'))
    granted_host = decide_host(asked)
    assert isinstance(granted_host, Host)
    answer = explain_host(asked, granted_host)
    if isinstance(answer, HostAnswer):
        assert f"{answer.rule.name if answer.rule else 'permitopen='}: {answer.condition}" == says
    else:
        assert answer.code == says
        if host != "localhost":
            assert "by a rule for a pattern or a network: its operator can allow" in answer.public
