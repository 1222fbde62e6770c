"""Changes of key files, line by line: a line is added, taken out of force, put back, changed or removed. All other bytes
stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ferry.errors import InvalidInput

from .authorized_keys import ALGORITHMS
from .key_options import options_end

DISABLED: Final = "#disabled "
"""Before a line that counts no more. sshd takes it for a comment too."""


def disabled_line(line: str) -> str:
    """The line, out of force."""
    return DISABLED + line.lstrip(" \t")


def enabled_line(line: str) -> str:
    """A line that `disabled_line` has made, in force again."""
    return line.lstrip(" \t").removeprefix(DISABLED)


def is_disabled(line: str) -> bool:
    """Whether `disabled_line` has made it."""
    return line.lstrip(" \t").startswith(DISABLED)


def disabled_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a file that `disabled_line` has made, as they were before, with their numbers from 1."""
    if DISABLED in text:
        for number, line in enumerate(text.split("\n"), 1):
            if is_disabled(line):
                yield number, enabled_line(line).strip(" \t\r")


def with_key(line: str, algorithm: str, encoded: str) -> str:
    """The line of a key with another key in its place: options and comment stay. Raises InvalidInput if it has no key."""
    body = line.lstrip(" \t")
    blanks = line[: len(line) - len(body)]
    first = body.replace("\t", " ").partition(" ")[0]
    end = 0 if first in ALGORITHMS else options_end(body)
    options, rest = body[:end], body[end:].lstrip(" \t").replace("\t", " ")
    if rest.partition(" ")[0] not in ALGORITHMS:
        raise InvalidInput("the line has no key")
    comment = rest.partition(" ")[2].lstrip(" ").partition(" ")[2]
    return blanks + " ".join(part for part in (options, algorithm, encoded, comment) if part)


def edited(text: str, changes: Mapping[int, tuple[str, str | None]]) -> str:
    """A file's text after `changes`: the number of a line (from 1), the line as it was, and what is in its place then; None
    removes it. Raises InvalidInput if a line is not what it was."""
    lines = text.split("\n")
    for number, (before, _) in changes.items():
        if number > len(lines) or lines[number - 1] != before:
            raise InvalidInput("the file has changed meanwhile: run this again")
    kept = (changes[number][1] if number in changes else line for number, line in enumerate(lines, 1))
    return "\n".join(line for line in kept if line is not None)


def appended(text: str, line: str) -> str:
    """A file's text with one more line at its end."""
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"
