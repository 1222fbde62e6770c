"""Rules of the operator's that are correct, and never decide anything."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from ferry.names import printable

from .aims import publish_port
from .keys import shown_time
from .port_lines import PortLine
from .rulebook import Rulebook
from .rules import Asker, Permit, Rule, is_pattern

_SHOWN: Final = 3  # names of nobody, of one rule
_COMPARED: Final = 64  # rules for the same identities that each later one is compared with: 4,096 of them take a second


def traps_of_rules(book: Rulebook, *, now: float, names: Collection[str] | None) -> Iterator[str]:
    """Each such rule, with its line and what to do. `now` is in seconds since the epoch. `names` are those of the keys in
    the key files; None where every key may log in."""
    if names is not None:
        for tag, members in book.tags.items():
            if unknown := names_of_nobody(members.names, names):
                yield f"{book.file}: [tags] {tag}: {unknown}"
    earlier: dict[object, list[Rule]] = {}
    for rule in book.rules:
        head = f"{book.file}, line {rule.line}: the rule {rule.name!r}"
        if names is not None and (unknown := names_of_nobody(rule.who.names, names)):
            yield f"{head}: {unknown}"
        same_who = earlier.setdefault(rule.who, [])
        if rule.until is not None and rule.has_ended(now):
            yield f"{head} allows nothing any more: its until has passed, on {shown_time(rule.until)}: delete it"
            continue
        before = next((each for each in same_who if _covers(each, rule)), None)
        if before is not None and (rule.forwards, rule.names) != (before.forwards, before.names):
            yield (
                f"{head} never decides: {before.name!r} (line {before.line}) allows the same to the same before it, and its "
                "limits count: write it above that one"
            )
        elif before is not None:
            yield f"{head} adds nothing to {before.name!r} (line {before.line}), which allows the same to the same: delete it"
        if rule.until is None and rule.origins is None and len(same_who) < _COMPARED:
            same_who.append(rule)


def ports_without_rule(book: Rulebook, ports: Mapping[int, Sequence[PortLine]], now: float) -> list[str]:
    """The lines of key files that name one of `ports`, and whose keys no rule lets publish it, from anywhere: the first of
    them with what to write, and how many there are."""
    refused = [
        (port, line)
        for port, lines in sorted(ports.items())
        for line in lines
        if not book.allows_somewhere(Asker(line.line.name, line.fingerprint, False, "", "", now), publish_port(port))
    ]
    if not refused:
        return []
    port, line = refused[0]
    who = line.line.name or line.fingerprint
    more = f" (and {len(refused) - 1:,} more such ports of lines: `ferry ports`)" if len(refused) > 1 else ""
    return [
        f"{line.line.place}: permitlisten= names port {port}, and no rule of {book.file} lets {who} publish it: write one with "
        f'who = ["{who}"] and publish.ports = ["{port}"]{more}'
    ]


def names_of_nobody(patterns: Iterable[str], names: Collection[str]) -> str:
    """What is wrong with names that no key has; empty if nothing is."""
    strange = [name for name in patterns if not is_pattern(name) and name not in names]
    if not strange:
        return ""
    shown = ", ".join(printable(name, 60) for name in strange[:_SHOWN])
    more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
    near = difflib.get_close_matches(strange[0], names, 1, 0.7)
    fix = f"did you mean {near[0]}?" if near else "write name= into the comment of the line that is meant"
    return f"no key has the name {shown}{more}: {fix}"


def _covers(earlier: Rule, later: Rule) -> bool:
    """Whether an earlier rule without conditions allows all that a later one does."""
    return all(
        any(_is_within(permit, other) for other in earlier.permits.get(targets, ()))
        for targets, permits in later.permits.items()
        for permit in permits
    )


def _is_within(permit: Permit, other: Permit) -> bool:
    if not other.first <= permit.first <= permit.last <= other.last:
        return False
    return other.of_ports or (permit.pattern, permit.network) == (other.pattern, other.network)
