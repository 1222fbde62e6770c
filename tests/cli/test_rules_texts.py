"""What is printed of how a key stands with the policy."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ferry.cli.rules_texts import print_rules

RULE: dict[str, Any] = {
    "name": "fleet", "file": "/policy", "line": 3, "who": "*", "only_from": None, "until": None,
}  # fmt: skip
STANDING: dict[str, Any] = {
    "file": "/policy", "who": "web-1", "in_force": True, "error": "", "rules": [], "allowed": [], "missing": [],
}  # fmt: skip
PUBLISH = {"act": "publish", "target": "port 21000", "rules": [RULE]}
REACH = {"act": "reach", "target": "port 21000", "rules": [RULE]}
MISSING = {"why": "no rule is for web-1", "write": "[[rule]]\n", "instead": ""}
NEED = "those whose line has a permitopen= need localhost:21000 in it too"
LISTED = "the rules for web-1 are 'fleet' (line 3) in /policy"
LETS = "rule 'fleet' lets web-1 publish port 21000 (/policy, line 3)"
CASES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "nothing": ({}, [], []),
    "what is missing": ({"missing": [MISSING]}, [], ["", "In /policy, for no rule is for web-1:", "[[rule]]"]),
    "a rule": ({"rules": [RULE]}, [], ["", f"policy: {LISTED}"]),
    "a port": ({"rules": [RULE], "allowed": [PUBLISH]}, ["localhost:21000"], ["", f"policy: {LETS}"]),
    "people": (
        {"allowed": [REACH]},
        ["localhost:21000"],
        ["", "policy: rule 'fleet' lets everybody with a key reach port 21000 (/policy, line 3)", f"policy: {NEED}"],
    ),
    "people, and no permits": (
        {"allowed": [REACH]},
        [],
        ["", "policy: rule 'fleet' lets everybody with a key reach port 21000 (/policy, line 3)"],
    ),
    "a mistake": (
        {"in_force": False, "error": "line 1: bad", "allowed": [PUBLISH]},
        [],
        ["", "policy: /policy cannot be put in force, so the gateway does not start: line 1: bad"],
    ),
    "a mistake that came later": (
        {"error": "line 1: bad"},
        [],
        ["", "policy: /policy is not in force as it is now, and an earlier policy decides: line 1: bad"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_how_a_key_stands(capsys: pytest.CaptureFixture[str], name: str) -> None:
    given, permits, shown = CASES[name]
    print_rules(STANDING | given, permits=permits)
    assert re.sub(r"\n +", " ", capsys.readouterr().out).split("\n")[:-1] == shown
