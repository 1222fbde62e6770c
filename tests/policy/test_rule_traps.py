"""Rules that never decide anything."""

from __future__ import annotations

import pytest

from ferry.config.policy_file import parse_policy
from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import PortLine
from ferry.policy.rule_traps import ports_without_rule, traps_of_rules
from ferry.policy.rulebook import Rulebook

NOW = 1_800_000_000.0  # 2027-01-15
NAMES = frozenset({"ann", "web-1"})
FIRST = '[[rule]]\nname = "all"\nwho = "ann"\npublish.ports = "*"\nmost.forwards = 3\n'


def traps(text: str, names: frozenset[str] | None = NAMES) -> list[str]:
    return list(traps_of_rules(Rulebook(parse_policy(text, "/policy", {})), now=NOW, names=names))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '[[rule]]\nname = "r"\nwho = ["annn", "web-*"]\npublish.ports = "*"\n',
            "/policy, line 1: the rule 'r': no key has the name annn: did you mean ann?",
        ),
        (
            '[tags]\nstaff = ["zoe"]\n[[rule]]\nwho = "tag:staff"\npublish.ports = "*"\n',
            "/policy: [tags] staff: no key has the name zoe: write name= into the comment of the line that is meant",
        ),
        (
            '[[rule]]\nname = "r"\nwho = "ann"\npublish.ports = "*"\nuntil = 2020-01-01T00:00:00Z\n',
            "/policy, line 1: the rule 'r' allows nothing any more: its until has passed, on 2020-01-01 00:00:00 UTC: delete it",
        ),
        (
            FIRST + '[[rule]]\nname = "one"\nwho = "ann"\npublish.ports = "22400"\nmost.forwards = 99\n',
            "/policy, line 6: the rule 'one' never decides: 'all' (line 1) allows the same to the same before it, and its "
            "limits count: write it above that one",
        ),
        (
            FIRST + '[[rule]]\nname = "one"\nwho = "ann"\npublish.ports = "1-9"\nmost.forwards = 3\n',
            "/policy, line 6: the rule 'one' adds nothing to 'all' (line 1), which allows the same to the same: delete it",
        ),
    ],
)  # fmt: skip
def test_a_rule_that_never_decides_is_named_with_what_to_do(text: str, says: str) -> None:
    assert traps(text) == [says]


def test_a_port_of_a_line_that_no_rule_lets_its_key_publish_is_named() -> None:
    def told(text: str) -> list[str]:
        lines = {
            21002: [PortLine(Fingerprint("SHA256:" + "b" * 43), KeyLine(None, file="/keys", number=2))],
            21001: [PortLine(Fingerprint("SHA256:" + "a" * 43), KeyLine("web-1", file="/keys", number=1))],
        }
        return ports_without_rule(Rulebook(parse_policy(text, "/policy", {})), lines, NOW)

    assert told('[[rule]]\nwho = "*"\npublish.ports = "21001-21002"\nfrom = "10.0.0.0/8"\n') == []
    (both,) = told('[[rule]]\nwho = "zoe"\npublish.ports = "*"\n')
    assert both == (
        "/keys, line 1: permitlisten= names port 21001, and no rule of /policy lets web-1 publish it: write one with who = "
        '["web-1"] and publish.ports = ["21001"] (and 1 more such ports of lines: `ferry ports`)'
    )
    (one,) = told('[[rule]]\nwho = "web-1"\npublish.ports = "*"\n')
    assert one.startswith("/keys, line 2: permitlisten= names port 21002, and no rule of /policy lets SHA256:bbb")
    assert one.endswith('publish.ports = ["21002"]')


@pytest.mark.parametrize(
    ("before", "after", "adds"),
    [
        ('ports = "22000-22100"', 'ports = "22050-22100"', False), ('ports = "22000-22100"', 'ports = "22100-22400"', True),
        ('names = "*"', 'names = "blog"', False), ('names = "b*"', 'names = "b*"', False), ('names = "b*"', 'names = "c"', True),
    ],
)  # fmt: skip
def test_a_rule_adds_what_the_one_before_it_does_not_allow(before: str, after: str, *, adds: bool) -> None:
    notes = traps("".join(f'[[rule]]\nwho = "ann"\npublish.{each}\n' for each in (before, after)))
    assert [" adds nothing to " in note for note in notes] == ([] if adds else [True])


@pytest.mark.parametrize(
    "text",
    [
        FIRST,
        FIRST + '[[rule]]\nwho = "web-1"\npublish.ports = "22400"\n',
        FIRST + '[[rule]]\nwho = "ann"\npublish.aliases = "a:22"\n',
        FIRST + '[[rule]]\nwho = "ann"\npublish.ports = "22400"\nreach.ports = "22400"\n',
        FIRST.replace("most", 'from = "10.0.0.0/8"\nmost') + '[[rule]]\nwho = "ann"\npublish.ports = "22400"\n',
        FIRST.replace("most", "until = 2030-01-01T00:00:00Z\nmost")
        + '[[rule]]\nwho = "ann"\npublish.ports = "22400"\n',
        '[[rule]]\nwho = ["SHA256:' + "a" * 43 + '", "anonymous", "*", "web-*"]\npublish.ports = "*"\n',
    ],
)
def test_other_rules_have_no_notes(text: str) -> None:
    assert traps(text) == []


def test_where_every_key_may_log_in_no_name_is_strange() -> None:
    assert traps('[[rule]]\nwho = "zoe"\npublish.ports = "*"\n', None) == []
