"""Looks at a configuration and its key files with all rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ferry.protocol.sshd_config import Parsed

from . import config_rules, file_rules, key_rules
from .config_rules import Server
from .findings import Finding, merged
from .rules import Severity
from .views import Key, KeyFile, View, views, with_keys


def lint(parsed: Parsed, files: Sequence[KeyFile], *, user: str | None, server: Server, now: datetime) -> list[Finding]:
    """All findings, in the order of the files and their lines.

    With `user`, what counts for that account; otherwise for everybody and below each Match block. `now` has a time zone.
    """
    made = with_keys(views(parsed, user), files, server.system)
    order = {name: number for number, name in enumerate([*parsed.files, *(file.name for file in files)])}
    findings = merged(
        [
            *file_rules.of_lines(parsed, server),
            *file_rules.of_blocks(parsed, resolves=made[0]["usedns"].word == "yes"),
            *_of_settings(made, server),
            *_of_keys(made, server, now),
            *key_rules.of_pairs(_in_order(made, order)),
        ]
    )
    return sorted(findings, key=lambda each: (order.get(each.place.file, len(order)), each.place.line or 1 << 30))


def _of_settings(made: Sequence[View], server: Server) -> Iterator[Finding]:
    found = [each for view in made for each in config_rules.of_account(view, server)]
    if any(view.listens for view in made):
        found += config_rules.of_everybody(made[0], server)
    elif not any(each.rule.startswith("forwarding-") for each in found):
        found += config_rules.of_no_account(made)
    yield from found


def _of_keys(made: Sequence[View], server: Server, now: datetime) -> Iterator[Finding]:
    """What is wrong with keys. Where it is not known which settings count for one, what is wrong with all of them."""
    times: Counter[Finding] = Counter()
    having = Counter(key.line.place for view in made for key in view.keys)
    surely: set[Finding] = set()
    for view in made:
        found = dict.fromkeys(key_rules.of_view(view, server, now), 1)
        times.update(found)
        certain = {key.line.place for key in view.certain_keys}
        surely.update(each for each in found if each.place in certain)
    yield from (each for each, count in times.items() if each in surely or count == having[each.place])


def _in_order(made: Sequence[View], files: Mapping[str, int]) -> list[Key]:
    """The keys of all views, each line once, in the order of the files."""
    lines = {key.line.place: key for view in made for key in view.keys}
    return sorted(lines.values(), key=lambda key: (files[key.line.place.file], key.line.place.line or 0))


def worst(findings: Sequence[Finding]) -> Severity | None:
    """The severity that decides the exit code; none without findings."""
    severities = {each.severity for each in findings}
    return Severity.FIX if Severity.FIX in severities else Severity.NOTE if severities else None
