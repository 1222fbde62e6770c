"""Breaks texts for people into lines: between words, and never inside a value or a path that they are to copy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Final, TextIO

PIPE_COLUMNS: Final = 100
LEAST_COLUMNS: Final = 40  # a narrower terminal breaks the lines itself
# A word, or what has spaces in it and is one value all the same: in quotes, in backticks, a list, a table. The bracket of a
# style begins no list.
_VALUE: Final = r"""(?:\x1b\[[0-9;]*m|`[^`\n]*`|"[^"\n]*"|(?<!\w)'[^'\n]*'(?!\w)|\[[^\]\n]*\]|\{[^}\n]*\}|\S)+"""
_WORD: Final = re.compile(rf"{_VALUE}(?: = {_VALUE})*")
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")
_SPACE: Final = "\0"  # stands for a space at which no line is broken


def columns(stream: TextIO) -> int:
    """The width for texts on `stream`: $COLUMNS, that of its terminal, or PIPE_COLUMNS for a pipe or a file."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return max(int(given), LEAST_COLUMNS)
    try:
        return max(os.get_terminal_size(stream.fileno()).columns or PIPE_COLUMNS, LEAST_COLUMNS)
    except OSError:  # it is no terminal
        return PIPE_COLUMNS


def wrapped(text: str, width: int, *, hang: int = 0, whole: Iterable[str] = ()) -> list[str]:
    """The lines of `text` in `width` columns. What goes on in a further line is indented by `hang` columns more than its
    beginning. `whole` are values in it, such as paths, whose spaces are no places for a break."""
    for value in whole:
        text = text.replace(value, value.replace(" ", _SPACE))
    lines: list[str] = []
    for paragraph in text.split("\n"):
        if columns_of(paragraph) <= width:
            lines.append(paragraph)
            continue
        indent = " " * (len(paragraph) - len(paragraph.lstrip(" ")))
        line = ""
        for word in _WORD.finditer(paragraph):
            longer = f"{line} {word[0]}" if line else indent + word[0]
            if line and columns_of(longer) > width:
                lines.append(line)
                longer = indent + " " * hang + word[0]
            line = longer
        lines.append(line)
    return [line.replace(_SPACE, " ") for line in lines]


def beside(head: str, indent: int, text: str, width: int, *, whole: Iterable[str] = ()) -> str:
    """`head`, which takes `indent` columns, and `text` to the right of it."""
    return head + f"\n{' ' * indent}".join(wrapped(text, width - indent, whole=whole))


def columns_of(text: str) -> int:
    """Its columns: styles take none."""
    return len(_STYLE.sub("", text))
