"""Finds the lines of a TOML file on which its keys are, and explains the mistakes that make it no TOML.

`tomllib` gives values without their lines, and texts for programmers. This reads lines, keys and the ends of values, which
is enough to point at them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ferry.names import printable

_BARE = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY: Final = rf"{_BARE}(?:[ \t]*\.[ \t]*{_BARE})*"
_HEADER = re.compile(rf"[ \t]*(?P<open>\[\[?)[ \t]*(?P<key>{_KEY})[ \t]*\]\]?[ \t\r]*(?:#.*)?")
_PAIR = re.compile(rf"[ \t]*(?P<key>{_KEY})[ \t]*=[ \t]*(?P<value>.*)", re.DOTALL)
_COLON = re.compile(r"[ \t]*(?P<key>[A-Za-z0-9_-]+)[ \t]*:[ \t]*(?P<value>\S.*)")
_COMMENT = re.compile(r"[ \t\r]+#.*|[ \t\r]+$")
_TRIPLE: Final = ('"""', "'''")
_YES: Final = frozenset({"true", "yes", "on"})
_NO: Final = frozenset({"false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Statement:
    """A line that begins a table (`header`) or sets a key. `key` is dotted, with the header above it."""

    line: int
    key: str
    value: str = ""
    """The rest of the line, as it is written."""
    header: bool = False


def statements(text: str) -> Iterator[Statement]:
    """The statements of a file, also of one that is not valid TOML. `[[tcp.ranges]]` has the key `tcp.ranges.0`."""
    header, quote, depth = "", "", 0
    counts: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        rest = line
        if not quote and not depth:
            if match := _HEADER.fullmatch(line):
                header = _below(_dotted(match["key"]), counts)
                if match["open"] == "[[":
                    counts[header] = counts.get(header, -1) + 1
                    header = f"{header}.{counts[header]}"
                yield Statement(number, header, header=True)
                continue
            if not (match := _PAIR.fullmatch(line)):
                continue
            key = _dotted(match["key"])
            yield Statement(number, f"{header}.{key}" if header else key, _COMMENT.sub("", match["value"]))
            rest = match["value"]
        quote, depth = _value_after(rest, quote, depth)


def _below(header: str, counts: Mapping[str, int]) -> str:
    """`[rule.publish]` is a table of the last `[[rule]]`: `rule.2.publish`."""
    first, dot, rest = header.partition(".")
    return f"{first}.{counts[first]}.{rest}" if dot and first in counts else header


def _dotted(key: str) -> str:
    return ".".join(part.strip(" \t\"'") for part in key.split("."))


def _value_after(text: str, quote: str, depth: int) -> tuple[str, int]:
    """The open quote and the open brackets at the end of a line, from those at its begin."""
    at = 0
    while at < len(text):
        if quote:
            if quote[0] == '"' and text[at] == "\\":
                at += 2
                continue
            if text.startswith(quote, at):
                at += len(quote)
                quote = ""
                continue
        elif text[at] == "#":
            break
        elif text.startswith(_TRIPLE, at):
            quote = text[at : at + 3]
            at += 3
            continue
        elif text[at] in "\"'":
            quote = text[at]
        elif text[at] in "[{":
            depth += 1
        elif text[at] in "]}":
            depth = max(0, depth - 1)
        at += 1
    return (quote if quote in _TRIPLE else ""), depth  # any other string ends with its line


def lines_of(text: str) -> dict[str, int]:
    """The line of each key. A table has that of its header."""
    found: dict[str, int] = {}
    for statement in statements(text):
        found.setdefault(statement.key, statement.line)
        if statement.header:
            found.setdefault(re.sub(r"\.\d+$", "", statement.key), statement.line)
    return found


@dataclass(frozen=True, slots=True)
class NoToml:
    """Why a file is not TOML."""

    line: int
    text: str
    column: int | None = None
    statement: Statement | None = None
    """The statement that is wrong, if the file can be read without its line."""
    meant: str = ""
    """The value that the text tells to write, in TOML: it may have a mistake of its own."""


def explain(text: str, line: int, column: int, what: str) -> NoToml:
    """The mistake that `tomllib` found, in an operator's words, with what to write."""
    every = list(statements(text))
    begun = next((each for each in reversed(every) if each.line <= line), None)
    here = begun if begun and begun.line == line and not begun.header else None
    if begun and (said := _twice(every, begun, what)):
        return NoToml(begun.line, said, statement=here)
    if here and (found := _unquoted(here, what)):
        return NoToml(line, found.text, statement=here, meant=found.meant)
    if here:
        return NoToml(line, f"{_shown(here)}: {what}", column, here)
    if what.startswith("Expected '='") and (match := _COLON.fullmatch(text.split("\n")[line - 1])):
        fix = f"{match['key']} = {_quoted(_COMMENT.sub('', match['value']))}"
        return NoToml(line, printable(f"a key and its value have = between them: write {fix}"))
    return NoToml(line, what, column)


def explain_end(text: str, what: str) -> NoToml:
    """The mistake that `tomllib` found at the end of the file: the last value has no end."""
    every = list(statements(text))
    begun = every[-1] if every else None
    if begun is None or begun.header:
        return NoToml(text.count("\n") + 1, what)
    found = _unquoted(begun, what)
    return NoToml(begun.line, found.text if found else f"{_shown(begun)} has no end: {what}")


def _shown(statement: Statement) -> str:
    return f"{printable(statement.key.rpartition('.')[2])} = {printable(statement.value)}"


def _twice(every: Sequence[Statement], begun: Statement, what: str) -> str | None:
    if not what.startswith(("Cannot overwrite a value", "Cannot declare", "Cannot redefine", "Cannot mutate")):
        return None
    first = next((each for each in every if each.key == begun.key and each.line < begun.line), None)
    if first is None:
        table = printable(begun.key)
        earlier = [each for each in every if each.line < begun.line and not each.header]
        dotted = next((each for each in earlier if each.key.startswith(f"{begun.key}.")), None)
        if not begun.header or dotted is None:
            return None
        below = printable(dotted.key.removeprefix(f"{begun.key}."))
        return f"[{table}] has a key on line {dotted.line} already: write that as {below} below [{table}]"
    if begun.header and first.header:
        return f"[{printable(begun.key)}] is here and on line {first.line}: write all its keys below one of them"
    return f"{printable(begun.key)} is written twice, first on line {first.line}: delete one of the two"


class _Unquoted(NamedTuple):
    text: str
    meant: str = ""


def _unquoted(statement: Statement, what: str) -> _Unquoted | None:
    """`domain = gw.example.com`, `drain = 15s`, `banner = yes`, a quote that is not closed."""
    key, value, shown = printable(statement.key.rpartition(".")[2]), statement.value, _shown(statement)
    if not value:
        return _Unquoted(f"{key} has no value: write one, or delete the line")
    if what.startswith(("Illegal character '\\n'", "Unterminated string")) and not value.startswith(_TRIPLE):
        meant = _quoted(value)
        return _Unquoted(f"{shown}: the text has no closing quote: write {key} = {meant}", meant)
    if value[0] in "\"'{" or not what.startswith(
        ("Invalid value", "Expected newline", "Invalid date", "Unclosed array")
    ):
        return None
    if value.lower() in _YES | _NO:
        meant = str(value.lower() in _YES).lower()
        return _Unquoted(f"{shown} is neither true nor false: write {key} = {meant}", meant)
    meant = _quoted(value)
    return _Unquoted(f"{shown}: text must be in quotes: write {key} = {meant}", meant)


def _quoted(value: str) -> str:
    """The value as TOML text, or as a list of texts."""
    if value.startswith("["):
        parts = (part.strip(" \t\"'") for part in value.strip("[] \t").split(","))
        return "[" + ", ".join(f'"{printable(part)}"' for part in parts if part) + "]"
    return '"' + printable(value.strip(" \t\"'")) + '"'
