"""What the policy and the line of a key say about one question, before somebody asks it in earnest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ferry.config.policy_file import parse_policy
from ferry.errors import Refusal
from ferry.hostnames import Domain
from ferry.kinds.rules import ForwardRules, PortRange
from ferry.names import Fingerprint
from ferry.policy.aims import Aim, parse_publish, parse_reach
from ferry.policy.entering import Accounts
from ferry.policy.explained import Settings, Verdict, verdict
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import PortLine
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.policy.sshd import NO_RULES, Forwarding, Match, SshdOptions, SshdRules
from ferry.protocol.key_options import parse_options
from known_system import KNOWN

RULES = ForwardRules(
    domain=Domain("gw.example.com"), reserved_names=frozenset({"admin"}), ranges=(PortRange(21000, 21999, loopback=True),),
    allocate_from=None, serves_web=True, keep=100.0, rest=10.0, reserve_after=0.0, reservations_per_identity=20,
    reservations_per_network=None, forwards_per_connection=3, forwards_per_identity=5, sockets="/run/sockets",
)  # fmt: skip
ANN, BOB = Fingerprint("SHA256:ann"), Fingerprint("SHA256:bob")
FROM = "192.0.2.7"
SOCKETS = SshdRules(SshdOptions(allow_streamlocal_forwarding=Forwarding.ALL))


def line(options: str = "", *, name: str | None = "ann", user: str | None = None, number: int = 1) -> KeyLine:
    return KeyLine(name, parse_options(options, KNOWN), user, "/keys", number, algorithm="ssh-ed25519")


def asker(key: Fingerprint | None = ANN, name: str | None = "ann", *, address: str = FROM) -> Asker:
    return Asker(name, key, key is None, address, address, 1_800_000_000.0)


def settings(
    lines: dict[Fingerprint, list[KeyLine]] | None = None, *, sshd: SshdRules = NO_RULES, user: str | None = None
) -> Settings:
    of_keys = lines or {}
    return Settings(None, RULES, sshd, user=user, keys=of_keys, accounts=Accounts.of_lines(of_keys))


def code_of(refusal: object) -> str | None:
    return refusal.code if isinstance(refusal, Refusal) else None


def codes(found: Verdict) -> tuple[str | None, str | None]:
    """What the line and what the configuration refuse."""
    return code_of(found.by_key), code_of(found.by_gateway)


KEPT = {21001: [PortLine(BOB, line(name="bob", number=2))], 21002: [PortLine(ANN, line())]}


@pytest.mark.parametrize(
    ("options", "aim", "refusal", "own"),
    [
        ("", parse_reach("ann:22")[0], None, True),
        ("", parse_reach("bob:22")[0], "not_yours", False),
        ("", parse_reach("ann:22")[1], "not_yours", False),  # the host of that name
        ("", parse_reach("localhost:21002")[0], None, True),
        ("", parse_reach("localhost:21001")[0], "not_yours", False),
        ("", parse_reach("localhost:21003")[0], "not_yours", False),
        ("", parse_reach("localhost:21002")[1], "not_yours", False),  # the gateway's own host
        ('permitopen="bob:22"', parse_reach("bob:22")[0], None, False),
        ('permitopen="bob:22"', parse_reach("ann:22")[0], "key_open", False),
        ("", parse_publish("21002"), None, False),
        ("", parse_publish("/x.sock"), None, False),
        ("", parse_reach("/x.sock")[0], None, False),
        ("restrict", parse_reach("/x.sock")[0], "key_forwards", False),
    ],
)
def test_without_a_policy_ones_own_targets_alone_are_reached(
    options: str, aim: Aim, refusal: str | None, *, own: bool
) -> None:
    found = verdict(replace(settings(sshd=SOCKETS), ports=KEPT), asker(), [aim], line(options))
    assert (code_of(found.by_key), found.is_own, found.allowed) == (refusal, own, refusal is None)


def test_with_a_policy_its_rules_say_what_is_reached() -> None:
    rule = '[[rule]]\nname = "staff"\nwho = "ann"\nreach.aliases = ["bob:22"]\n'
    asked = replace(settings(), book=Rulebook(parse_policy(rule, "/policy", {})))
    [bob, _], [carl, _] = parse_reach("bob:22"), parse_reach("carl:22")
    found = verdict(asked, asker(), [bob], line())
    assert (found.allowed, found.by_key, found.is_own) == (True, None, False)
    found = verdict(asked, asker(), [carl], line())
    assert (found.allowed, found.by_key, isinstance(found.by_policy, Refusal)) == (False, None, True)


def test_somebody_without_a_name_has_no_alias_by_it() -> None:
    [alias, _] = parse_reach("ann:22")
    assert code_of(verdict(settings(), asker(name=None), [alias], line(name=None)).by_key) == "not_yours"
    assert verdict(settings(), asker(name="Ann"), [alias], line()).allowed


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("localhost:21001", 'port 21001 is kept for bob (SHA256:bob) (/keys, line 2): write permitopen="localhost:21001"'),
        ("localhost:21003", 'no line of a key file says that port 21003 is its own, and permitopen= does not name it'),
        ("bob:22", 'no line of a key file says that the alias bob:22 is its own, and permitopen= does not name it: write permitopen="bob:22"'),
        ("db.example.com:5432", 'permitopen= does not name the host db.example.com:5432: write permitopen="db.example.com:5432"'),
        ("[2001:db8::1]:22", 'permitopen= does not name the host [2001:db8::1]:22: write permitopen="[2001:db8::1]:22"'),
    ],
)  # fmt: skip
def test_what_is_not_ones_own_is_told_with_what_to_write(target: str, why: str) -> None:
    refusal = verdict(replace(settings(), ports=KEPT), asker(), parse_reach(target)[:1], line()).by_key
    assert refusal is not None
    assert refusal.detail is not None
    assert why in refusal.detail
    assert refusal.rule == "/keys, line 1"


def test_of_several_readings_of_a_target_the_one_that_is_allowed_is_told() -> None:
    aims = parse_reach("db:22")
    found = verdict(settings(), asker(), aims, line('permitopen="db:22"'))
    assert found.allowed
    assert verdict(settings(), asker(name="db"), aims[::-1], line(name="db")).aim == aims[0]


def test_a_key_that_no_line_lets_in_may_nothing() -> None:
    why = Refusal("no", code="key_line")
    found = verdict(settings(), asker(), [parse_publish("21002")], None, why)
    assert (found.allowed, found.by_key, found.refusals) == (False, why, 1)
    assert not verdict(settings(), asker(), [parse_publish("21002")], None).allowed


def test_a_revoked_key_may_nothing() -> None:
    revoked = Refusal("revoked", code="revoked")
    asked = replace(settings(), revocation_of=lambda key: revoked if key == BOB else None)
    assert codes(verdict(asked, asker(BOB), [parse_publish("21002")], line()))[0] == "revoked"
    assert verdict(asked, asker(), [parse_publish("21002")], line()).allowed
    every = replace(settings(), revocation_of=lambda _: revoked)
    assert verdict(every, asker(None, None), [parse_publish("21002")], KeyLine()).allowed  # without a key


@pytest.mark.parametrize(
    ("first", "address", "user", "decides"),
    [
        (line(), FROM, None, True),
        (line('from="192.0.2.0/24"'), FROM, None, True),
        (line('from="10.0.0.0/8"'), FROM, None, False),
        (line('from="192.0.2.0/24"'), "", None, False),  # from where nobody knows
        (line('from="*"'), FROM, None, True),
        (line('from="*"'), "", None, False),
        (line('expiry-time="19710101"'), FROM, None, False),
        (line(user="dev"), FROM, "dev", True),
        (line(user="dev"), FROM, "root", False),
        (line(user="dev"), FROM, None, False),
    ],
)
def test_the_first_line_of_a_key_that_lets_it_in_decides(
    first: KeyLine, address: str, user: str | None, *, decides: bool
) -> None:
    second = line(number=2)
    asked = settings({ANN: [first, second]}, user=user)
    found = verdict(asked, asker(address=address), [parse_publish("21002")], second)
    assert code_of(found.by_key) == ("key_line_before" if decides else None)
    if decides:
        assert found.by_key is not None
        assert found.by_key.rule == "/keys, line 2"
        assert found.by_key.detail is not None
        assert found.by_key.detail.startswith("/keys, line 1 has the same key")


def test_a_line_of_another_file_with_the_same_number_decides_too() -> None:
    first, second = replace(line(), file="/first"), line()
    found = verdict(settings({ANN: [first, second]}), asker(), [parse_publish("21002")], second)
    assert code_of(found.by_key) == "key_line_before"


def test_the_ranges_of_ports_are_for_what_is_published() -> None:
    permitted = line('permitopen="localhost:22"')
    found = verdict(settings(), asker(), parse_reach("localhost:22")[:1], permitted)
    assert (found.allowed, codes(found)) == (True, (None, None))
    assert codes(verdict(settings(), asker(), [parse_publish("22")], line())) == (None, "port_outside")


@pytest.mark.parametrize(
    ("name", "last", "target", "refusal"),
    [
        ("ann", 21002, "0", None),  # her own
        ("carl", 21003, "0", None),  # the one that nobody has
        ("carl", 21002, "0", "port_kept"),
        ("ann", 21003, "21001", "port_kept"),
        ("carl", 21003, "21002", "port_kept"),
    ],
)
def test_of_the_ports_that_the_gateway_gives_one_is_asked_about_that_is_kept_for_nobody_else(
    name: str, last: int, target: str, refusal: str | None
) -> None:
    rules = replace(RULES, allocate_from=PortRange(21001, last, loopback=True))
    who = asker(name=name) if name == "ann" else asker(Fingerprint("SHA256:carl"), name)
    found = verdict(replace(settings(), rules=rules, ports=KEPT), who, [parse_publish(target)], line(name=name))
    assert code_of(found.by_gateway) == refusal


def test_without_ports_to_give_none_is_given() -> None:
    assert code_of(verdict(settings(), asker(), [parse_publish("0")], line()).by_gateway) is not None


def test_a_socket_is_asked_about_by_its_path() -> None:
    for aim in (parse_publish("/x.sock"), parse_reach("/x.sock")[0]):
        found = verdict(settings(), asker(), [aim], line())
        assert codes(found) == (None, "sshd_socket")


def test_a_line_behind_the_one_that_is_asked_about_decides_nothing() -> None:
    asked = settings({ANN: [line(), line(number=2)]})
    assert verdict(asked, asker(), [parse_publish("21002")], line()).allowed


def test_from_is_asked_where_the_address_is_known() -> None:
    only = line('from="10.0.0.0/8"')
    assert not verdict(settings(), asker(), [parse_publish("21002")], only).allowed
    assert verdict(settings(), asker(address="10.0.0.1"), [parse_publish("21002")], only).allowed
    assert verdict(settings(), asker(address=""), [parse_publish("21002")], only).allowed


def test_a_line_of_one_login_name_counts_for_that_alone() -> None:
    of_dev = line(user="dev")
    assert verdict(settings(user="dev"), asker(), [parse_publish("21002")], of_dev).allowed
    assert verdict(settings(), asker(), [parse_publish("21002")], of_dev).allowed
    assert codes(verdict(settings(user="root"), asker(), [parse_publish("21002")], of_dev))[0] == "login_name"


TWO = SshdRules(SshdOptions(keys_needed=2))
ONE = SshdRules(SshdOptions(keys_needed=1))
ECDSA = SshdRules(SshdOptions(pubkey_accepted_algorithms=frozenset({"ecdsa-sha2-nistp256"})))
ED25519_TWICE = SshdRules(SshdOptions(keys_needed=2, pubkey_accepted_algorithms=frozenset({"ssh-ed25519"})))
ECDSA_TWICE = SshdRules(SshdOptions(keys_needed=2, pubkey_accepted_algorithms=frozenset({"ecdsa-sha2-nistp256"})))


@pytest.mark.parametrize(
    ("sshd", "beside", "refusal"),
    [
        (NO_RULES, None, None), (ONE, None, None), (TWO, None, "sshd_methods"), (TWO, line(), None),
        (TWO, line(name="bob"), "sshd_methods"), (TWO, line("restrict"), "sshd_methods"),
        (TWO, replace(line(), algorithm="ssh-rsa"), None), (ECDSA, line(), "sshd_algorithm"),
        (ED25519_TWICE, line(), None), (ED25519_TWICE, replace(line(), algorithm="ssh-rsa"), "sshd_methods"),
        (ECDSA_TWICE, None, "sshd_algorithm"),
    ],
)  # fmt: skip
def test_the_log_in_itself_may_need_more_keys_or_others(
    sshd: SshdRules, beside: KeyLine | None, refusal: str | None
) -> None:
    lines = {ANN: [line()]} | ({BOB: [beside]} if beside is not None else {})
    assert codes(verdict(settings(lines, sshd=sshd), asker(), [parse_publish("21002")], line())) == (None, refusal)


@pytest.mark.parametrize(("sshd", "refusal"), [(NO_RULES, None), (ONE, "sshd_methods"), (TWO, "sshd_methods")])
def test_somebody_without_a_key_is_refused_where_one_is_needed(sshd: SshdRules, refusal: str | None) -> None:
    anybody = KeyLine()
    assert (
        code_of(verdict(settings(sshd=sshd), asker(None, None), [parse_publish("21002")], anybody).by_gateway)
        == refusal
    )


def test_where_there_are_cas_a_certificate_may_stand_beside_the_key_of_a_login_name() -> None:
    for has_cas, user, refusal in (
        (False, "dev", "sshd_methods"), (True, "dev", None), (True, None, "sshd_methods"),
    ):  # fmt: skip
        of = line(name=None, user=user)
        asked = replace(settings({ANN: [of]}, sshd=TWO), has_cas=has_cas)
        assert codes(verdict(asked, asker(name=None), [parse_publish("21002")], of)) == (None, refusal)


def test_the_holder_of_a_certificate_needs_no_other_line() -> None:
    holder = asker(name=None)._replace(holder="SHA256:ca:ann")
    assert codes(verdict(settings(sshd=TWO), holder, [parse_publish("21002")], line(name=None)))[1] is None
    assert (
        codes(verdict(settings(sshd=ECDSA), holder, [parse_publish("21002")], line(name=None)))[1] == "sshd_algorithm"
    )


def test_the_blocks_for_a_login_name_count_where_it_is_known() -> None:
    rules = SshdRules(matches=(Match(SshdOptions(disable_forwarding=True), user="dev"),))
    for user, of, refusal in (
        (None, line(), None), ("dev", line(), "sshd_forwarding"), ("root", line(), None),
        (None, line(user="dev"), "sshd_forwarding"),
    ):  # fmt: skip
        found = verdict(settings(sshd=rules, user=user), asker(), [parse_publish("21002")], of)
        assert code_of(found.by_gateway) == refusal


@pytest.mark.parametrize(
    ("target", "refusal"),
    [
        ("21001", "port_kept"), ("21002", None), ("21003", None), ("22", "port_outside"), ("admin", "reserved_name"),
        ("blog", None), ("web-1:22", None), ("/x.sock", None),
    ],
)  # fmt: skip
def test_the_configuration_refuses_what_nobody_or_another_may_have(target: str, refusal: str | None) -> None:
    found = verdict(replace(settings(sshd=SOCKETS), ports=KEPT), asker(), [parse_publish(target)], line())
    assert codes(found) == (None, refusal)


@pytest.mark.parametrize(
    ("options", "target", "allowed"),
    [
        ("restrict", "21002", False), ("restrict", "blog", False), ("restrict", "/x.sock", False),
        ("restrict,port-forwarding", "21002", True), ('permitlisten="21002"', "21002", True),
        ('permitlisten="21002"', "21003", False), ('permitlisten="blog:80"', "blog", True),
        ('permitlisten="blog:443"', "blog", True), ('permitlisten="blog:22"', "blog", False),
        ('permitlisten="blog.gw.example.com:80"', "blog", True), ('permitlisten="web-1:22"', "web-1:22", True),
        ('permitlisten="web-1:80"', "web-1:22", False), ('permitlisten="localhost:21002"', "localhost:21002", True),
        ('permitlisten="localhost:21002"', "*:21002", False),
    ],
)  # fmt: skip
def test_a_line_is_asked_as_stock_ssh_would_ask(options: str, target: str, *, allowed: bool) -> None:
    assert verdict(settings(sshd=SOCKETS), asker(), [parse_publish(target)], line(options)).allowed is allowed
