"""How a key stands with the operator's policy, as text: which rules decide, and what to write where none does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from .output import folded, safe

Rules = dict[str, Any]
"""`KeyRules`, as a document."""


def print_rules(rules: Rules, *, permits: Sequence[str] = ()) -> None:
    """Print all that the policy says about a key, behind what was done with it. `permits` are what a line with a
    `permitopen=` needs to reach its ports."""
    file, who = safe(rules["file"]), rules["who"]
    if rules["error"] or rules["rules"] or rules["allowed"]:
        typer.echo("")
    if not rules["in_force"]:
        _say(f"{file} cannot be put in force, so the gateway does not start: {safe(rules['error'])}")
        return
    if rules["error"]:
        _say(f"{file} is not in force as it is now, and an earlier policy decides: {safe(rules['error'])}")
    for one in rules["allowed"]:
        for rule in one["rules"]:
            whom = who if one["act"] == "publish" else _those(rule["who"])
            _say(
                f"rule {_named(rule)} lets {safe(whom)} {one['act']} {safe(one['target'])}{_conditions(rule)}{_place(rule)}"
            )
    if permits and any(one["act"] == "reach" for one in rules["allowed"]):
        _say(f"those whose line has a permitopen= need {', '.join(permits)} in it too")
    if not rules["allowed"] and rules["rules"]:
        listed = ", ".join(f"{_named(rule)} (line {rule['line']})" for rule in rules["rules"])
        _say(f"the rules for {safe(who)} are {listed} in {file}")
    for one in rules["missing"]:
        typer.echo(f"\nIn {file}, for {safe(one['why'])}:")
        typer.echo(one["write"].rstrip())
        if one["instead"]:
            typer.echo(folded(f"Or: rule {safe(one['instead'])}", "", "    "))


def _say(text: str) -> None:
    typer.echo(folded(f"policy: {text}", "", "    "))


def _named(rule: Rules) -> str:
    return repr(safe(rule["name"]))


def _those(who: str) -> str:
    return "everybody with a key" if who == "*" else who


def _conditions(rule: Rules) -> str:
    origins = f" from {safe(rule['only_from'])} only" if rule["only_from"] else ""
    until = f" until {safe(rule['until'])}" if rule["until"] else ""
    return f"{origins}{until}"


def _place(rule: Rules) -> str:
    return f" ({safe(rule['file'])}, line {rule['line']})"
