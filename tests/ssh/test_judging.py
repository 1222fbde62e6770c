"""What the operator's policy says about a client that asks, and about a tunnel that it has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from ferry.config.policy_file import parse_policy
from ferry.hostnames import Domain, Urls
from ferry.kinds.rules import Web
from ferry.names import Address, Endpoint, Fingerprint, Identity, IdentityId, Kind
from ferry.policy.port_lines import NO_PORT_LINES
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Rule
from ferry.ssh.forward_settings import ForwardSettings
from ferry.ssh.judging import judge_of, refusal_now, with_limits
from granted import RULES

ANN = Identity(IdentityId("ann"), "ann", Fingerprint("SHA256:ann"))
PORT = Address(Kind.TCP, "", 21022)
NOW = 1_900_000_000.0


class Client:
    identity = ANN
    peer = Endpoint("192.0.2.7", 4711)
    host = "192.0.2.7"


def book_of(rules: str) -> Rulebook:
    return Rulebook(parse_policy(rules, "/policy", {}))


def settings(rules: str | None = None) -> ForwardSettings:
    """With a policy file of these rules, or without one."""
    urls = Urls(Domain("localhost"), 22, 80, None, lambda _: False)
    web = Web(Domain("localhost"), frozenset({80}), frozenset({443}))
    book = None if rules is None else book_of(rules)
    return ForwardSettings(RULES, web, cast(Any, None), urls, NO_PORT_LINES, book=book)


ANNS = '[[rule]]\nname = "anns"\nwho = "ann"\npublish.ports = "21000-21999"\n'
LIMITED = f"{ANNS}most.names = 3\n"
BOBS = '[[rule]]\nname = "bobs"\nwho = "bob"\npublish.ports = "*"\n'


def rule_of(text: str) -> Rule:
    return book_of(text).rules[0]


def test_without_a_policy_file_nobody_judges() -> None:
    assert judge_of(Client(), settings(), NOW) is None
    assert judge_of(Client(), settings(ANNS), NOW) is not None


@pytest.mark.parametrize(
    ("rules", "before", "code", "by"),
    [
        (None, None, None, ""),
        (None, ANNS, None, ""),
        (ANNS, None, None, ""),
        (ANNS, ANNS, None, ""),
        (BOBS, None, "policy", ""),
        (BOBS, ANNS, "policy", " (rule 'anns' had allowed it)"),
        (f"{ANNS}until = 1970-01-01T00:00:01Z\n", ANNS, "policy_until", ""),
    ],
)
def test_a_tunnel_is_refused_once_the_rules_allow_it_no_longer(
    rules: str | None, before: str | None, code: str | None, by: str
) -> None:
    """The rule that had allowed it is named, unless the refusal names it already."""
    refusal = refusal_now(Client(), PORT, settings(rules), NOW, rule_of(before) if before else None)
    assert (refusal and refusal.code) == code
    if refusal is not None:
        assert refusal.public.endswith(by)
        assert ("had allowed it" in refusal.public) is bool(by)


@pytest.mark.parametrize(("rule", "names"), [(None, 20), (ANNS, 20), (LIMITED, 3)])
def test_the_names_of_one_identity_are_limited_by_the_rule_that_decides(rule: str | None, names: int) -> None:
    changed = with_limits(settings(), rule_of(rule) if rule else None)
    assert changed.rules == replace(RULES, reservations_per_identity=names)
