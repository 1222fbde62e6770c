"""A finding: a rule that a line breaks, what happens because of it, and what to write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ferry.protocol.sshd_config import Place

from .rules import RULES, Severity


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


def found(
    rule: str,
    place: Place,
    values: Mapping[str, object] = MappingProxyType({}),
    *,
    scope: str = "",
    severity: Severity | None = None,
) -> Finding:
    """A finding by the texts of `rule`, with `values` in their braces. `severity`, if it is not the rule's own."""
    texts = RULES[rule]
    shown = {name: str(value) for name, value in values.items()}
    what, fix = texts.what.format_map(shown), texts.fix.format_map(shown)
    return Finding(rule, severity or texts.severity, place, what, fix, scope)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The same findings, each place once, and lines of a file with equal texts as one finding.

    The whole and a Match block may both have the finding; then it is the whole's, which comes first.
    """
    first: dict[tuple[object, ...], Finding] = {}
    places = set()
    for each in findings:
        if (each.rule, each.place, each.what) in places:
            continue
        places.add((each.rule, each.place, each.what))
        key = (each.rule, each.severity, each.place.file, each.what, each.fix, each.scope)
        earlier = first.get(key)
        if earlier is None or earlier.place.line is None or each.place.line is None:
            first.setdefault(key, each)
        else:
            first[key] = replace(earlier, also=(*earlier.also, each.place.line))
    return list(first.values())
