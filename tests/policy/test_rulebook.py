"""Decisions by the operator's rules: the index answers as the rules mean it, and a refusal says why."""

from __future__ import annotations

import string
from collections.abc import Mapping
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.config.policy_file import parse_policy
from ferry.errors import InvalidInput, Refusal
from ferry.names import Address, CertificateName, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.aims import Act, Aim, What, parse_publish, parse_reach, publish_port
from ferry.policy.judge import Judge
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker, Members, Naming, Permit, Policy, Rule
from ferry.protocol.host_patterns import HostList, parse_host_list
from granted import RULES as FORWARD_RULES
from policy.rule_meaning import allows

NOW = 1_900_000_000.0  # 2030-03-17 17:46:40 UTC
KEYS = [Fingerprint(f"SHA256:{letter * 43}") for letter in "abc"]
NAMES = ["web-1", "web-2", "db-1", "ann", "w"]
PATTERNS = ["web-*", "*", "*-1", "w?b-1", "?", "w*1", "*e*", "{name}", "{name}-*", "web-{name}", *NAMES]
HOSTS = ["db.example.com", "10.1.2.3", "10.1.2.4", "2001:db8::1", "::ffff:10.1.2.3", "web-1", "x"]
PORTS = [1, 22, 80, 21000, 21023, 21999, 22000, 65535]
NETWORKS = ["10.1.2.3/32", "10.1.2.0/24", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "2001:db8::1/128"]


HOLDERS = ["SHA256:ca:web-1", "SHA256:ca:web-*", "SHA256:ca:*", "SHA256:other:*"]


def members(*, tags: st.SearchStrategy[list[str]]) -> st.SearchStrategy[Members]:
    return st.builds(
        Members,
        names=st.lists(st.sampled_from([p for p in PATTERNS if "{" not in p]), max_size=3).map(tuple),
        fingerprints=st.frozensets(st.sampled_from(KEYS), max_size=2),
        holders=st.lists(st.sampled_from(HOLDERS), max_size=2).map(tuple),
        keyed=st.booleans(),
        anonymous=st.booleans(),
        tags=tags.map(tuple),
    )


TAGS = ["fleet", "staff"]
SPANS = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(sorted)
PERMITS = st.one_of(
    st.builds(lambda pattern, span: Permit(pattern, span[0], span[1]), st.sampled_from(PATTERNS), SPANS),
    st.sampled_from(PATTERNS).map(Permit),  # `builds` would make up the fields that have defaults
    st.builds(
        lambda network, span: Permit("*", span[0], span[1], ip_network(network)), st.sampled_from(NETWORKS), SPANS
    ),
)
TARGETS = [(act, what) for act in Act for what in What]
ORIGINS = [None, parse_host_list("10.0.0.0/8,!10.9.0.0/16"), parse_host_list("*"), parse_host_list("192.0.2.7")]
RULES = st.builds(
    Rule,
    name=st.text(string.ascii_lowercase, min_size=1, max_size=4),
    file=st.just("/policy"),
    line=st.integers(1, 99),
    who=members(tags=st.lists(st.sampled_from(TAGS), max_size=1)),
    permits=st.dictionaries(st.sampled_from(TARGETS), st.lists(PERMITS, max_size=3).map(tuple), max_size=4),
    origins=st.sampled_from(ORIGINS),
    until=st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
)
POLICIES = st.builds(
    Policy,
    st.just("/policy"),
    st.lists(RULES, max_size=12).map(tuple),
    st.fixed_dictionaries({tag: members(tags=st.just([])) for tag in TAGS}),
)
ASKERS = st.builds(
    Asker,
    name=st.sampled_from([None, *NAMES]),
    fingerprint=st.sampled_from([None, *KEYS]),
    anonymous=st.booleans(),
    address=st.sampled_from(["10.1.1.1", "10.9.1.1", "192.0.2.7", "2001:db8::7", ""]),
    host=st.just("host"),
    now=st.sampled_from([NOW - 0.5, NOW, NOW + 0.5]),
    holder=st.sampled_from([None, "SHA256:ca:web-1", "SHA256:other:web-1"]),
)
WANTED = st.builds(
    lambda targets, name, port: Aim(targets[0], targets[1], name, port),
    st.sampled_from(TARGETS),
    st.sampled_from([*NAMES, *HOSTS, ""]),
    st.sampled_from([0, *PORTS]),
)


@given(POLICIES, st.lists(st.tuples(ASKERS, WANTED, st.sampled_from(Naming)), min_size=1, max_size=8))
def test_the_index_answers_as_a_look_at_each_rule(policy: Policy, questions: list[tuple[Asker, Aim, Naming]]) -> None:
    book = Rulebook(policy)
    for asker, wanted, how in questions:
        allowing = [rule for rule in policy.rules if allows(rule, asker, wanted, policy.tags, how)]
        answer = book.decide(asker, wanted, how)
        if allowing:
            assert answer is allowing[0]
        else:
            assert isinstance(answer, Refusal)
            assert (answer.rule or "").startswith("/policy")


@given(POLICIES, ASKERS, WANTED)
def test_one_more_rule_never_takes_a_permission_away(policy: Policy, asker: Asker, wanted: Aim) -> None:
    for count in range(len(policy.rules)):
        fewer = Policy("/policy", policy.rules[:count], policy.tags)
        if isinstance(Rulebook(fewer).decide(asker, wanted), Rule):
            assert isinstance(Rulebook(policy).decide(asker, wanted), Rule)


WEB_1 = Asker("web-1", KEYS[0], False, "10.1.1.1", "10.1.1.1", NOW)
Permits = Mapping[tuple[Act, What], tuple[Permit, ...]]
PORT_RULE: Permits = {(Act.PUBLISH, What.PORT): (Permit("*", 21000, 21999, text="21000-21999"),)}


def rule(
    name: str = "fleet",
    *,
    who: Members | None = None,
    permits: Permits = PORT_RULE,
    origins: HostList | None = None,
    until: float | None = None,
) -> Rule:
    return Rule(name, "/policy", 12, who or Members(names=("web-*",)), permits, origins, until)


def refusal(wanted: str, *rules: Rule, asker: Asker = WEB_1) -> Refusal:
    answer = Rulebook(Policy("/policy", rules)).decide(asker, parse_publish(wanted))
    assert isinstance(answer, Refusal)
    return answer


def test_what_no_rule_allows_is_refused_with_what_the_rules_allow_instead() -> None:
    found = refusal("22080", rule())
    assert found.public == "the operator's policy lets you publish the ports 21000-21999 (rule 'fleet'), not port 22080"
    assert found.detail == "the policy does not allow web-1 to publish port 22080: no rule does"
    assert (found.code, found.rule) == ("policy", "/policy")


def test_who_has_no_rule_at_all_is_told_whom_to_ask() -> None:
    found = refusal("blog", rule())
    assert found.public == (
        "the operator's policy does not let you publish the name blog, or any names: ask the operator for a rule that does"
    )


def test_a_rule_for_elsewhere_and_a_rule_that_has_ended_are_named() -> None:
    found = refusal("21023", rule(origins=parse_host_list("192.0.2.0/24")))
    assert found.public == "the operator's policy lets you publish port 21023, but not from your address (rule 'fleet')"
    assert (found.code, found.rule) == ("policy_from", "/policy, line 12: fleet")
    assert found.detail.endswith("port 21023 from 10.1.1.1: 'fleet' has from")
    found = refusal("21023", rule(until=NOW - 1))
    assert (
        found.public == "the operator's policy let you publish port 21023 until 2030-03-17 17:46:39 UTC (rule 'fleet')"
    )
    assert (found.code, found.rule) == ("policy_until", "/policy, line 12: fleet")


def test_star_is_everybody_with_a_key_and_anonymous_is_named() -> None:
    anonymous = Asker(None, None, True, "10.1.1.1", "10.1.1.1", NOW)
    assert refusal("21023", rule(who=Members(keyed=True)), asker=anonymous).code == "policy"
    book = Rulebook(Policy("/policy", (rule(who=Members(anonymous=True)),)))
    assert isinstance(book.decide(anonymous, parse_publish("21023")), Rule)
    assert isinstance(book.decide(WEB_1, parse_publish("21023")), Refusal)


def test_the_holder_of_a_certificate_is_its_ca_and_its_key_id_and_no_name() -> None:
    by_one, by_other = (WEB_1._replace(name=None, holder=f"SHA256:{ca}:web-1") for ca in ("ca", "other"))
    wanted = parse_publish("21023")
    for holders, allowed in (
        (("SHA256:ca:web-1",), [True, False]),
        (("SHA256:ca:*",), [True, False]),
        (("SHA256:other:web-?",), [False, True]),
        (("SHA256:ca:db-*",), [False, False]),
    ):
        book = Rulebook(Policy("/policy", (rule(who=Members(holders=holders)),)))
        assert [isinstance(book.decide(asker, wanted), Rule) for asker in (by_one, by_other)] == allowed
    for names in (("web-1",), ("*-1",), ("web-*",)):
        book = Rulebook(Policy("/policy", (rule(who=Members(names=names)),)))
        assert isinstance(book.decide(by_one, wanted), Refusal)
    identity = Identity(
        IdentityId("i"), None, KEYS[0], certificate=CertificateName(Fingerprint("SHA256:ca"), "web-1", 7)
    )
    assert Asker.of(identity, "10.1.1.1", "10.1.1.1", NOW) == by_one
    assert str(by_one) == "SHA256:ca:web-1"


@pytest.mark.parametrize(
    ("who", "holder", "allowed"),
    [
        (Members(holders=("SHA256:ca:*",)), "SHA256:ca:web-1", True),
        (Members(tags=("fleet",)), "SHA256:ca:web-1", True),
        (Members(holders=("SHA256:ca:*",)), "SHA256:other:web-1", False),
        (Members(keyed=True), "SHA256:ca:web-1", False),
        (Members(fingerprints=frozenset({KEYS[0]})), "SHA256:ca:web-1", False),
        (Members(keyed=True, holders=("SHA256:other:*",)), "SHA256:ca:web-1", False),
        (Members(holders=("SHA256:ca:*",)), "SHA256:ca:WEB-1", False),
        (Members(holders=("SHA256:ca:*",)), "SHA256:ca:web-1.x", False),
        (Members(holders=("SHA256:ca:*",)), "SHA256:ca:web-*", False),
        (Members(holders=("SHA256:ca:*",)), "SHA256:ca:", False),
        (Members(holders=("SHA256:ca:*",)), None, False),
    ],
)
def test_a_key_id_is_the_own_name_where_the_rule_names_the_ca(
    who: Members, holder: str | None, *, allowed: bool
) -> None:
    """Else any CA could give the name of another's machine."""
    own = rule(who=who, permits={(Act.PUBLISH, What.NAME): (Permit("{name}"),)})
    book = Rulebook(Policy("/policy", (own,), {"fleet": Members(holders=("SHA256:ca:*",))}))
    asker = Asker(None, KEYS[0], False, "10.1.1.1", "10.1.1.1", NOW, holder)
    assert isinstance(book.decide(asker, Aim(Act.PUBLISH, What.NAME, "web-1", 0)), Rule) is allowed


def test_a_name_of_the_operator_counts_before_the_key_id() -> None:
    own = rule(who=Members(holders=("SHA256:ca:*",)), permits={(Act.PUBLISH, What.NAME): (Permit("{name}"),)})
    book = Rulebook(Policy("/policy", (own,)))
    asker = WEB_1._replace(name="ann", holder="SHA256:ca:web-1")
    assert isinstance(book.decide(asker, Aim(Act.PUBLISH, What.NAME, "web-1", 0)), Refusal)
    assert isinstance(book.decide(asker, Aim(Act.PUBLISH, What.NAME, "ann", 0)), Rule)


def test_an_identity_whose_name_is_a_pattern_gets_nothing_by_its_own_name() -> None:
    own = rule(who=Members(keyed=True), permits={(Act.PUBLISH, What.NAME): (Permit("{name}"),)})
    book = Rulebook(Policy("/policy", (own,)))
    blog = parse_publish("blog")
    assert isinstance(book.decide(WEB_1._replace(name="blog"), blog), Rule)
    assert isinstance(book.decide(WEB_1._replace(name="*"), blog), Refusal)
    assert isinstance(book.decide(WEB_1._replace(name=None), blog), Refusal)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("21023", "port 21023"),
        ("localhost:21023", "port 21023"),
        ("*:21023", "port 21023"),
        ("Blog", "the name blog"),
        ("blog:80", "the name blog"),
        ("blog:443", "the name blog"),
        ("web-1:22", "the alias web-1:22"),
        ("/DB.sock", "the socket /DB.sock"),
        ("./db.sock", "the socket /db.sock"),
    ],
)
def test_publish_is_asked_as_ssh_writes_it(text: str, target: str) -> None:
    assert parse_publish(text).target == target


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("web-1:22", ["the alias web-1:22", "the host web-1:22"]),
        ("localhost:21023", ["port 21023", "the host localhost:21023"]),
        ("[::1]:21023", ["port 21023", "the host [::1]:21023"]),
        ("DB.example.com:5432", ["the host db.example.com:5432"]),
        ("[2001:db8::1]:22", ["the host [2001:db8::1]:22"]),
        ("/DB.sock", ["the socket /DB.sock"]),
    ],
)
def test_reach_is_asked_by_host_and_port(text: str, targets: list[str]) -> None:
    assert [wanted.target for wanted in parse_reach(text)] == targets


@pytest.mark.parametrize("text", ["/", "/a/b.sock", "/../b.sock", "/run/ferry/sockets/web-1/x.sock", "/x y", "/-x"])
def test_a_socket_is_asked_about_by_its_name_in_the_folder_of_who_asks(text: str) -> None:
    for parse in (parse_publish, parse_reach):
        with pytest.raises(InvalidInput, match=r"is no socket of somebody: write /x\.sock"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[::1:22", "has colons: an IPv6 address stands in brackets"), ("::1]:22", "has colons"), ("::1:22", "has colons"),
        ("db", "is no host with a port"), (":22", "is no host with a port"), ("db:0", "is no port"), ("db:", "is no port"),
    ],
)  # fmt: skip
def test_reach_of_no_host_with_a_port_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_reach(text)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("web-*a", ["web-1a", "web-a"]), ("w?b-1", ["web-1"]), ("*-1", ["web-1", "db-1"]), ("*a", ["web-1a", "web-a", "wa"]),
        ("*e?-*", ["web-1", "web-1a", "web-a"]), ("web-?", ["web-1", "web-a"]), ("web-*", ["web-1", "web-1a", "web-a"]),
    ],
)  # fmt: skip
def test_a_rule_is_for_the_names_that_match_its_whole_pattern(pattern: str, names: list[str]) -> None:
    book = Rulebook(Policy("/policy", (rule(who=Members(names=(pattern,))),)))
    wanted = parse_publish("21023")
    asked = ["web-1", "db-1", "web-1a", "web-a", "wa"]
    assert [name for name in asked if isinstance(book.decide(WEB_1._replace(name=name), wanted), Rule)] == names


def judge_of(permits: Permits) -> Judge:
    return Judge(Rulebook(Policy("/policy", (rule(permits=permits),))), WEB_1)


def test_a_socket_is_no_name_no_port_and_no_alias() -> None:
    judge = judge_of({(act, what): (Permit(),) for act in Act for what in What if what is not What.SOCKET})
    assert isinstance(judge.publish(Address(Kind.SOCKET, "web-1/x.sock"), FORWARD_RULES), Refusal)
    assert isinstance(judge.reach_socket("x.sock"), Refusal)
    assert isinstance(judge.publish(Address(Kind.TCP, "", 21023), FORWARD_RULES), Rule)


def test_a_rule_for_sockets_counts_for_the_act_and_the_names_that_it_has() -> None:
    judge = judge_of({(Act.PUBLISH, What.SOCKET): (Permit("{name}-*.sock", text="/{name}-*.sock"),)})
    assert isinstance(judge.publish(Address(Kind.SOCKET, "web-1/web-1-a.sock"), FORWARD_RULES), Rule)
    assert isinstance(judge.publish(Address(Kind.SOCKET, "web-1/WEB-1-a.sock"), FORWARD_RULES), Refusal)
    refused = judge.publish(Address(Kind.SOCKET, "web-1/db.sock"), FORWARD_RULES)
    assert isinstance(refused, Refusal)
    assert refused.public == (
        "the operator's policy lets you publish the sockets /{name}-*.sock (rule 'fleet'), not the socket /db.sock"
    )
    assert isinstance(judge.reach_socket("web-1-a.sock"), Refusal)
    assert isinstance(judge_of({(Act.REACH, What.SOCKET): (Permit(),)}).reach_socket("any"), Rule)


@pytest.mark.parametrize(
    ("address", "now", "rules"),
    [
        ("10.0.0.1", NOW, ["near", "soon", "all"]),
        ("192.0.2.1", NOW, ["soon", "all"]),
        ("192.0.2.1", 2 * NOW, ["all"]),
    ],
)
def test_rules_that_allow_something_to_somebody_do_so_from_there_and_now(
    address: str, now: float, rules: list[str]
) -> None:
    heads = {"near": 'from = "10.0.0.0/8"', "soon": "until = 2031-01-01T00:00:00Z", "all": "", "other": ""}
    text = "".join(
        f'[[rule]]\nname = "{name}"\nwho = "ann"\npublish.ports = "{80 if name == "other" else 21023}"\n{more}\n'
        for name, more in heads.items()
    )
    book = Rulebook(parse_policy(text, "/policy", {}))
    assert [rule.name for rule in book.rules_for([publish_port(21023)], address, now)] == rules
