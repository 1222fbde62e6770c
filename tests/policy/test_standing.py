"""How a key stands with the rules, and the rules that are told to be written."""

from __future__ import annotations

import pytest

from ferry.config.policy_file import parse_policy
from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.policy.aims import publish_port
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.policy.standing import Newcomer, Standing, standing_of

NOW = 1_800_000_000.0  # 2027-01-15
KEY = Fingerprint("SHA256:" + "k" * 43)
RANGES = {"loopback": [(21000, 21999)], "public": [(22000, 22999)], "ssh": [(21000, 21499)]}
OTHERS = '[[rule]]\nname = "others"\nwho = ["zoe"]\npublish.names = ["zoe"]\n'


def book_of(text: str) -> Rulebook:
    return Rulebook(parse_policy(text, "/policy", RANGES))


def standing(text: str, *ports: int, name: str | None = "web-1") -> Standing:
    """Ports from 22000 on are public, and those up to 21499 for ssh."""
    reached = [port for port in ports if port < 22000]
    return standing_of(book_of(text), Newcomer(name, KEY, ports, reached, [p for p in reached if p < 21500]), NOW)


def allowed(text: str, *ports: int, name: str | None = "web-1") -> list[tuple[str, list[str]]]:
    return [(str(each.aim), [rule.name for rule in each.rules]) for each in standing(text, *ports, name=name).allowed]


def rule(name: str, who: str, more: str) -> str:
    return f'[[rule]]\nname = "{name}"\nwho = ["{who}"]\n{more}\n'


ALL = 'publish.ports = ["*"]'


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (rule("a", "web-*", ALL), ["a"]),
        ('[tags]\nfleet = ["web-1"]\n' + rule("a", "tag:fleet", 'publish.ports = ["ssh"]'), ["a"]),
        (rule("a", KEY, ALL), ["a"]),
        (rule("a", "*", 'publish.ports = ["1", "21022"]'), ["a"]),
        (rule("a", "web-1", ALL) + rule("b", "web-1", ALL), ["a"]),
        (rule("a", "web-1", f'{ALL}\nfrom = ["10.0.0.0/8"]'), ["a"]),
        (rule("a", "web-1", f'{ALL}\nfrom = ["10.0.0.0/8"]') + rule("b", "web-1", ALL), ["b"]),
        (rule("a", "web-1", f"{ALL}\nuntil = 2028-01-01T00:00:00Z"), ["a"]),
        (rule("a", "web-1", f"{ALL}\nuntil = 2026-01-01T00:00:00Z"), []),
        (rule("a", "web-2", ALL), []),
        (rule("a", "anonymous", ALL), []),
        (rule("a", "web-1", 'publish.ports = ["21023-21999"]'), []),
        (rule("a", "web-1", 'reach.ports = ["21022"]'), []),
    ],
)
def test_the_rule_that_lets_a_machine_publish_its_port(text: str, rules: list[str]) -> None:
    published = [found for aim, found in allowed(text, 21022) if aim == "publish port 21022"]
    assert published == ([rules] if rules else [])
    unpublished = [each.why for each in standing(text, 21022).missing if "publish" in each.why]
    assert unpublished == ([] if rules else ["no rule lets web-1 publish port 21022"])


@pytest.mark.parametrize(
    ("port", "more", "found"),
    [
        (21022, 'reach.ports = ["21022"]', [("reach port 21022", ["a"])]),
        (21022, 'reach.ports = ["loopback"]\nfrom = ["10.0.0.0/8"]', [("reach port 21022", ["a"])]),
        (21022, 'reach.aliases = ["web-*:22"]', [("reach the alias web-1:22", ["a"])]),
        (21022, 'reach.aliases = ["{name}:22"]', [("reach the alias web-1:22", ["a"])]),
        (21022, 'reach.aliases = ["web-*:22"]\nreach.ports = ["21022"]', [("reach port 21022", ["a"])]),
        (21022, 'reach.ports = ["21022"]\nuntil = 2026-01-01T00:00:00Z', []),
        (21022, 'reach.hosts = ["localhost:21022"]', []),
        (21600, 'reach.aliases = ["web-1:22"]', []),
    ],
)
def test_people_reach_a_port_by_its_number_or_by_the_name_of_its_machine(
    port: int, more: str, found: list[tuple[str, list[str]]]
) -> None:
    text = rule("m", "web-1", ALL) + rule("a", "ann", more)
    publishes = (f"publish port {port}", ["m"])
    assert allowed(text, port) == [publishes, *found]
    assert [each.why for each in standing(text, port).missing] == (
        [] if found else [f"no rule lets anybody reach port {port}"]
    )


def test_a_public_port_is_reached_without_a_rule() -> None:
    assert [each.why for each in standing(OTHERS, 22000).missing] == ["no rule lets web-1 publish port 22000"]
    assert standing(rule("a", "web-1", ALL), 22000).missing == []


@pytest.mark.parametrize("name", ["web-1", None])
@pytest.mark.parametrize("ports", [(21022,), (21022, 21600, 22000), ()])
def test_the_rules_that_are_told_do_what_is_missing(name: str | None, ports: tuple[int, ...]) -> None:
    before = standing(OTHERS, *ports, name=name)
    assert before.missing
    text = OTHERS + "".join(f"\n{each.write}" for each in before.missing)
    after = standing(text, *ports, name=name)
    assert after.missing == []
    assert [str(each.aim) for each in after.allowed if str(each.aim).startswith("publish")] == [
        f"publish port {port}" for port in ports
    ]
    asker = Asker(name, KEY, False, "192.0.2.1", "192.0.2.1", NOW)
    for port in ports:
        assert not isinstance(book_of(text).decide(asker, publish_port(port)), Refusal)


def test_the_names_of_told_rules_are_free() -> None:
    text = rule("web-1 publishes", "zoe", ALL)
    (first, second) = standing(text, 21022).missing
    assert first.write == '[[rule]]\nwho = ["web-1"]\npublish.ports = ["21022"]\n'
    assert second.write.startswith('[[rule]]\nname = "people reach web-1"\nwho = ["ann"]  # ')
    assert standing(OTHERS, 21022, name="w" * 60).missing[0].write.startswith('[[rule]]\nwho = ["www')


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        (rule("a", "zoe", ALL), "'a' (line 1) allows it to zoe: add \"web-1\" to its who"),
        (
            '[tags]\nfleet = ["web-2"]\n' + rule("a", "tag:fleet", 'publish.ports = ["21022", "21600"]'),
            "'a' (line 3) allows it to tag:fleet: add \"web-1\" to [tags] fleet",
        ),
        (rule("a", "zoe", 'publish.ports = ["21022"]'), ""),
        (rule("a", "zoe", f"{ALL}\nuntil = 2026-01-01T00:00:00Z"), ""),
        (
            rule("a", "web-1", 'publish.ports = ["21022"]') + rule("b", "zoe", 'publish.ports = ["21600"]'),
            "'b' (line 5)",
        ),
    ],
)
def test_a_rule_that_allows_it_to_others_is_named(text: str, instead: str) -> None:
    found = standing(text, 21022, 21600).missing[0].instead
    assert found.startswith(instead)
    assert bool(found) is bool(instead)


def test_a_key_for_which_no_rule_is_may_nothing() -> None:
    (missing,) = standing(OTHERS).missing
    assert missing.why == "no rule is for web-1, so it may log in, and publish and reach nothing"
    there = standing(rule("a", "web-1", 'reach.ports = ["1"]') + rule("b", "zoe", ALL) + rule("c", "*", ALL))
    assert ([each.name for each in there.rules], there.missing, there.allowed) == (["a", "c"], [], [])
