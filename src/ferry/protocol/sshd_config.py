"""Reads sshd_config(5), and what `sshd -T` prints, as OpenSSH's servconf.c reads it.

    Include /etc/ssh/sshd_config.d/*.conf
    AllowTcpForwarding no
    Match User tunnel
        AllowTcpForwarding remote
        PermitListen localhost:21001 localhost:21002

A keyword counts in any case, a value may be in quotes, and a `#` before a word begins a comment. Match holds until the next
Match or the end of its file; an included file gives the Match of its own back at its end. Which value counts is not decided
here: that depends on who logs in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import printable

from .host_patterns import matches
from .permits import Permit, Services, parse_permit_listen, parse_permit_open
from .sshd_keywords import ALIASES, WHOLE_LINE

INCLUDE_DEPTH: Final = 16  # files that include one another (SERVCONF_MAX_DEPTH)
_LINE: Final = re.compile(r'[ \t]*([^ \t="]+)[ \t]*=?[ \t]*(.*)')
_TIME: Final = re.compile(r"(?:[0-9]+[smhdw])*[0-9]*", re.ASCII | re.IGNORECASE)
_LARGEST: Final = 2**31 - 1  # a C int
_DIGITS: Final = 20  # that are looked at: an int has 10
_UNITS: Final[Mapping[str, int]] = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400})
_CRITERIA: Final = frozenset({"user", "group", "host", "address", "localaddress", "localport", "rdomain", "version"})
_ALONE: Final = frozenset({"all", "invalid-user"})
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:p[0-9]+)?")
_EFFECTIVE: Final = 40  # keywords that `sshd -T` prints at least: there are some 80

Version: TypeAlias = tuple[int, int]
"""Of OpenSSH: `(9, 2)`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; without a line, the file."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        """Escaped: the name of a file may have any characters."""
        file = printable(self.file, limits.LINT_TEXT_CHARS)
        return file if self.line is None else f"{file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Source:
    """A file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A Match line."""

    place: Place
    written: str
    """`Match User tunnel`."""
    criteria: tuple[tuple[str, str], ...]
    """Names in lower case, with their patterns; `all` and `invalid-user` have none."""

    @property
    def is_for_all(self) -> bool:
        return self.criteria == (("all", ""),)

    def values(self, criterion: str) -> list[str]:
        """The patterns of one criterion."""
        return [pattern for name, pattern in self.criteria if name == criterion]


@dataclass(frozen=True, slots=True)
class Statement:
    """A line with a keyword that is neither Match nor Include."""

    place: Place
    keyword: str
    """In lower case, under its present name."""
    written: str
    """The keyword as the file spells it."""
    values: tuple[str, ...]
    blocks: tuple[Block, ...] = ()
    """The Match lines that it stands below: one, or more if a file is included below Match."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line at which sshd stops reading, and does not start, or that it passes over."""

    place: Place
    why: str
    fix: str


@dataclass(slots=True)
class Parsed:
    """A configuration with all files that it includes."""

    name: str
    """The file that includes the others."""
    statements: list[Statement] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    """The names of all files, in the order in which they are read."""

    @property
    def is_effective(self) -> bool:
        """Whether this is what `sshd -T` prints: the settings in force, each written out, in lower case."""
        written = {each.written for each in self.statements}
        expected = {"clientaliveinterval", "gatewayports", "maxstartups", "permitopen"}
        plain = all(word == word.lower() for word in written)
        return expected <= written and len(written) >= _EFFECTIVE and plain and not self.blocks


def parse(source: Source, include: Callable[[str], Sequence[Source]]) -> Parsed:
    """Read a configuration. `include` gives the files that match a pattern of Include, in their order."""
    reader = _Reader(Parsed(source.name), include)
    reader.read(source, (), 0)
    return reader.parsed


@dataclass(slots=True)
class _Reader:
    parsed: Parsed
    include: Callable[[str], Sequence[Source]]
    stopped: bool = False
    """Whether sshd reads no further: each Include that follows might double the files to read."""

    def read(self, source: Source, outer: tuple[Block, ...], depth: int) -> None:
        """Read one file, which stands below `outer`."""
        self.parsed.files.append(source.name)
        blocks, understood = outer, True
        for number, raw in enumerate(source.text.split("\n"), 1):
            if self.stopped:
                return
            place = Place(source.name, number)
            line = raw.rstrip(" \t\r\f")
            match = _LINE.fullmatch(line)
            if not match or match[1].startswith("#"):
                continue
            keyword = match[1].lower()
            values = _values(keyword, match[2])
            if not values:
                self.parsed.mistakes.append(_without_values(place, match[1], match[2]))
            elif keyword == "match":
                block = self._block(place, line.strip(), values)
                understood = block is not None
                if block is not None:
                    blocks = (*outer, block)
            elif not understood:
                continue  # nobody knows for whom it is: it belongs to no other block
            elif keyword == "include":
                for pattern in values:
                    if not self.stopped:
                        self._include(place, pattern, blocks, depth + 1)
            else:
                now = ALIASES.get(keyword, keyword)
                self.parsed.statements.append(Statement(place, now, match[1], values, blocks))

    def _block(self, place: Place, written: str, values: Sequence[str]) -> Block | None:
        criteria = _criteria(values)
        if criteria is None:
            why = f"sshd does not understand '{written}', and does not start"
            fix = "Match User NAME, Match Group NAME, Match Address NETWORK or Match all"
            self.parsed.mistakes.append(Mistake(place, why, fix))
            return None
        block = Block(place, written.partition("#")[0].rstrip(), criteria)
        self.parsed.blocks.append(block)
        return block

    def _include(self, place: Place, pattern: str, blocks: tuple[Block, ...], depth: int) -> None:
        if depth > INCLUDE_DEPTH:
            why = f"files include one another more than {INCLUDE_DEPTH} deep, perhaps in a circle: sshd does not start"
            self.parsed.mistakes.append(Mistake(place, why, "delete this Include"))
            self.stopped = True
            return
        if pattern.startswith("~"):
            why = "sshd does not know ~ in Include, so that it reads no file here"
            self.parsed.mistakes.append(Mistake(place, why, "Include /PATH"))
            return
        for source in self.include(pattern):
            if not self.stopped:
                self.read(source, blocks, depth)


def _values(keyword: str, rest: str) -> tuple[str, ...] | None:
    """The values after a keyword; none if there are none, or if a quote is not closed."""
    words = split(rest)
    if words and keyword in WHOLE_LINE:
        return (rest.strip(),)
    return tuple(words) if words else None


def _without_values(place: Place, keyword: str, rest: str) -> Mistake:
    if split(rest) is None:
        why = f"{keyword} has a quote that is not closed: sshd does not start"
        return Mistake(place, why, f'{keyword} "VALUE"')
    return Mistake(place, f"{keyword} has no value: sshd does not start", f"{keyword} VALUE, or delete the line")


def split(text: str) -> list[str] | None:
    """The words of a line, without their quotes and up to a comment; None if a quote is not closed (argv_split, misc.c)."""
    words: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        word, at, closed = _word(text, at)
        if not closed:
            return None
        words.append(word)
    return words


def _word(text: str, at: int) -> tuple[str, int, bool]:
    """The word that begins at `at`, its end, and whether its quotes are closed."""
    word, quote = "", ""
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char == "\\" and following and (following in "'\"\\" or (not quote and following == " ")):
            word += following
            at += 1
        elif not quote and char in " \t":
            break
        elif not quote and char in "'\"":
            quote = char
        elif char == quote:
            quote = ""
        else:
            word += char
        at += 1
    return word, at, not quote


def _criteria(values: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """The criteria of a Match line; None where sshd does not understand them."""
    found: list[tuple[str, str]] = []
    left = iter(values)
    for value in left:
        name, equals, pattern = value.partition("=")
        name = name.lower()
        if name in _ALONE and not equals:
            found.append((name, ""))
            continue
        if not equals:
            pattern = next(left, "")
        if name not in _CRITERIA or not pattern:
            return None
        found.append((name, pattern))
    if ("all", "") in found and len(found) > 1:
        return None
    return tuple(found)


def in_patterns(name: str, patterns: str) -> bool:
    """Whether a list such as `web-*,!web-9` means `name` (ssh_config(5), PATTERNS)."""
    found = False
    for pattern in patterns.split(","):
        if matches(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def seconds(text: str) -> int | None:
    """A time such as `90`, `1m30s` or `1h`, in seconds; None if sshd would not take it (TIME FORMATS)."""
    if not text or not _TIME.fullmatch(text):
        return None
    total = 0
    for digits, unit in re.findall(r"([0-9]+)([smhdw]?)", text.lower()):
        each = count(digits)
        if each is None:
            return None
        total += each * _UNITS[unit or "s"]
    return total if total <= _LARGEST else None


def count(text: str) -> int | None:
    """A number; None if sshd would not take it (atoi_err, misc.c)."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        return None
    number = int(text)
    return number if number <= _LARGEST else None


def permit(text: str, services: Services, *, listens: bool) -> Permit | None:
    """A value of PermitListen (`listens`) or PermitOpen, or of the key options of these names. None if sshd refuses it."""
    try:
        return (parse_permit_listen if listens else parse_permit_open)(text, services)
    except InvalidInput:
        return None


def version_in(text: str) -> Version | None:
    """The version in `9.2`, `9.2p1`, or in a text with `OpenSSH_9.2p1`."""
    match = _VERSION.fullmatch(text) or re.search(f"OpenSSH_{_VERSION.pattern}", text)
    return (int(match[1]), int(match[2])) if match else None
