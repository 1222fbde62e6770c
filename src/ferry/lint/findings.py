"""A finding: a rule that a line breaks, what happens because of it, and what to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from ferry.protocol.sshd_config import Place

from .rules import RULES, Severity

_VALUES: Final = "{values}"
_VALUES_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One trap in one place."""

    rule: str
    severity: Severity
    place: Place
    what: str
    """What happens, for people."""
    fix: str
    """What to write: lines of the file that `place` names."""
    scope: str = ""
    """`Match User tunnel` where only that block is meant."""
    also: tuple[int, ...] = ()
    """Further lines of the same file to which the same text applies."""
    values: tuple[str, ...] = ()
    """What a rule says of several lines once, though their values differ: `what` has `{values}` for them until the findings
    are merged."""


def found(
    rule: str,
    place: Place,
    values: Mapping[str, object] = MappingProxyType({}),
    *,
    scope: str = "",
    severity: Severity | None = None,
    value: object = None,
) -> Finding:
    """A finding by the texts of `rule`, with `values` in their braces. `severity`, if it is not the rule's own. `value` is
    that of a rule with `{values}`."""
    texts = RULES[rule]
    shown = {"values": _VALUES} | {name: str(value) for name, value in values.items()}
    what, fix = texts.what.format_map(shown), texts.fix.format_map(shown)
    return Finding(
        rule, severity or texts.severity, place, what, fix, scope, (), () if value is None else (str(value),)
    )


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings, each place once, and lines of a file with equal texts as one finding.

    The whole and a Match block may both have the finding; then it is the whole's, which comes first.
    """
    groups: dict[tuple[object, ...], list[Finding]] = {}
    places = set()
    for each in findings:
        here = (each.rule, each.place, each.what, each.values)
        if here in places:
            continue
        places.add(here)
        group = groups.setdefault((each.rule, each.severity, each.place.file, each.what, each.fix, each.scope), [])
        if not group or None not in (group[0].place.line, each.place.line):
            group.append(each)
    return [_one(group) for group in groups.values()]


def _one(group: Sequence[Finding]) -> Finding:
    """Findings with equal texts, as one."""
    first = group[0]
    lines = dict.fromkeys(each.place.line for each in group if each.place.line is not None)
    values = dict.fromkeys(value for each in group for value in each.values)
    also = tuple(line for line in lines if line != first.place.line)
    return replace(first, also=also, values=tuple(values), what=first.what.replace(_VALUES, _listed(values)))


def _listed(values: Iterable[str]) -> str:
    """All of a few values, the first of many."""
    each = list(values)
    if len(each) > _VALUES_SHOWN:
        each[_VALUES_SHOWN - 1 :] = [f"{len(each) - _VALUES_SHOWN + 1} more"]
    *others, last = each or [""]
    return f"{', '.join(others)} and {last}" if others else last
