"""Lines of keys that let nobody in, because a log-in needs several keys and theirs cannot be one of them, or has no other
beside it (`several_keys`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ferry.names import Fingerprint, Identity, IdentityId

from .keys import KeyLine
from .several_keys import account_of, methods_text
from .sshd import ANY_END, SshdRules, Who

_SHOWN: Final = 5  # lines in a text


class _Need(NamedTuple):
    """How many keys a log-in with a line needs."""

    keys: int
    where: str
    """The block for some log-ins alone that says so, as the begin of a sentence; empty: all of this line need them."""


@dataclass(slots=True)
class LoneKeys:
    """The lines of the key files, by what a log-in needs."""

    rules: SshdRules
    has_cas: bool
    """A certificate may stand beside a key of a file for one login name: who has one is not known."""
    anybody: bool = False
    """Some key lets somebody in, alone or with another one, as far as is known."""
    _nameless: dict[tuple[str, _Need], list[KeyLine]] = field(default_factory=dict)
    _single: dict[tuple[str, _Need], list[KeyLine]] = field(default_factory=dict)

    def texts(self, lines: Mapping[Fingerprint, Sequence[KeyLine]]) -> Iterator[str]:
        """What is wrong with some of the lines of all keys, with their places and what to write. Afterwards `anybody` is
        known."""
        accounts: dict[object, set[Fingerprint]] = {}
        for key, of_key in lines.items():
            for line in of_key:
                accounts.setdefault(account_of(line), set()).add(key)
        for key, of_key in lines.items():
            for line in of_key:
                self._sort(key, line, len(accounts[account_of(line)]))
        yield from (_of_nobody(file, need, found) for (file, need), found in self._nameless.items())
        yield from (_without_another(file, need, found) for (file, need), found in self._single.items())

    def _sort(self, key: Fingerprint, line: KeyLine, keys: int) -> None:
        """`keys`: how many different ones the account of the line has."""
        need = self._need_of(key, line)
        if need.keys <= 1 or (line.user is not None and self.has_cas):
            self.anybody = True
            return
        nameless = account_of(line) is None
        if not nameless and keys >= need.keys:
            self.anybody = True
            return
        self.anybody |= bool(need.where)
        found = self._nameless if nameless else self._single
        found.setdefault((line.file, need), []).append(line)

    def _need_of(self, key: Fingerprint, line: KeyLine) -> _Need:
        who = Who(line.user or "", Identity(IdentityId(""), line.name, key), "", ANY_END)
        needed = self.rules.of(who).keys_needed or 0
        if needed > 1:
            return _Need(needed, "")
        for number, match in enumerate(self.rules.matches, 1):
            if (some := match.options.keys_needed or 0) > 1 and match.may_hold(who, self.rules.book):
                return _Need(some, f"where sshd.match {number} counts, ")
        return _Need(needed, "")


def _of_nobody(file: str, need: _Need, lines: Sequence[KeyLine]) -> str:
    these, they = ("this key lets", "it has") if len(lines) == 1 else ("these keys let", "they have")
    return (
        f"{file}, {numbers_of(lines)}: {need.where}{these} nobody in: {methods_text(need.keys)} asks for {need.keys} keys of "
        f"one name, and {they} none: write the same name= behind each key of a person: `ssh-ed25519 AAAA... name=ann`"
    )


def _without_another(file: str, need: _Need, lines: Sequence[KeyLine]) -> str:
    head = f"{file}, {numbers_of(lines)}: {need.where}"
    asks = f"{methods_text(need.keys)} asks for {need.keys} different keys"
    if (name := lines[0].name) is None:
        return f"{head}nobody logs in as {lines[0].user}: {asks}, and this file has fewer: add a line with another key"
    names = list(dict.fromkeys(line.name for line in lines if line.name))
    more = f" and {len(names) - _SHOWN:,} more have" if len(names) > _SHOWN else " has" if len(names) == 1 else " have"
    return (
        f"{head}{', '.join(names[:_SHOWN])}{more} too few keys to log in: {asks} of one name: add a line with another key "
        f"and name={name}"
    )


def numbers_of(lines: Sequence[KeyLine]) -> str:
    """Where lines of one file stand, for people."""
    numbers = sorted({line.number for line in lines})
    shown = ", ".join(map(str, numbers[:_SHOWN]))
    more = f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"
