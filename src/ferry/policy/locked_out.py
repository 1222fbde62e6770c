"""Keys of the files that let nobody in by the operator's settings with sshd's names, and what is written about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ferry.names import Fingerprint, Identity, IdentityId
from ferry.protocol.key_algorithms import signatures_of

from .entering import takes, takes_certificates
from .keys import KeyLine
from .lone_keys import LoneKeys, numbers_of
from .sshd import ANY_END, SshdOptions, SshdRules, Who


class LockedOut(NamedTuple):
    """Lines that let nobody in."""

    texts: Sequence[str]
    """What is wrong with them, with their places and what to write."""
    everybody: bool
    """No key lets anybody in, and no certificate does."""


NOBODY: Final = LockedOut((), everybody=False)


class _Strange(NamedTuple):
    """Lines with keys of one algorithm, which a setting does not take."""

    file: str
    algorithm: str
    rule: str


def locked_out(rules: SshdRules, lines: Mapping[Fingerprint, Sequence[KeyLine]], *, has_cas: bool) -> LockedOut:
    """The lines of all keys that let nobody in by these rules. `has_cas`: there are CAs, whose certificates nobody knows.
    A line counts that lets somebody in from some address, or by some login name."""
    if not any(_narrows(each) for each in (rules.options, *(match.options for match in rules.matches))):
        return NOBODY
    strange: dict[_Strange, list[KeyLine]] = {}
    taken: dict[Fingerprint, list[KeyLine]] = {}
    for key, of_key in lines.items():
        for line in of_key:
            if (setting := _that_takes_none(rules, key, line)) is None:
                taken.setdefault(key, []).append(line)
            else:
                found = _Strange(line.file, line.algorithm, setting.rule("pubkey_accepted_algorithms"))
                strange.setdefault(found, []).append(line)
    certified = has_cas and any(map(takes_certificates, _settings(rules)))
    lone = LoneKeys(rules, certified)
    texts = [*(_of_algorithm(found, its) for found, its in strange.items()), *lone.texts(taken)]
    return LockedOut(texts, everybody=bool(texts) and not lone.anybody and not certified)


def _narrows(options: SshdOptions) -> bool:
    return options.pubkey_accepted_algorithms is not None or (options.keys_needed or 0) > 1


def _settings(rules: SshdRules) -> Iterator[SshdOptions]:
    yield rules.options
    yield from (match.options for match in rules.matches if match.options.pubkey_accepted_algorithms is not None)


def _that_takes_none(rules: SshdRules, key: Fingerprint, line: KeyLine) -> SshdOptions | None:
    """The settings that do not take the signatures of a line's key, if there is no log-in for which others count that do."""
    who = Who(line.user or "", Identity(IdentityId(""), line.name, key), "", ANY_END)
    some = [match.options for match in rules.matches if match.may_hold(who, rules.book)]
    options, signatures = rules.of(who), signatures_of(line.algorithm)
    if any(takes(each, signatures) for each in some if each.pubkey_accepted_algorithms is not None):
        return None
    return None if takes(options, signatures) else options


def _of_algorithm(found: _Strange, lines: Sequence[KeyLine]) -> str:
    these = "this key lets" if len(lines) == 1 else "these keys let"
    write = " or ".join(signatures_of(found.algorithm))
    return (
        f"{found.file}, {numbers_of(lines)}: {these} nobody in: PubkeyAcceptedAlgorithms does not take {write} ({found.rule}): "
        f"add {write} there, or write other keys into the file"
    )
