"""Breaks sentences at a width, between words. What a person copies stays in one piece."""

from __future__ import annotations

import re
import textwrap
from typing import Final

_FURTHER: Final = "  "  # before the second line of a sentence, and all later ones
_GLUE: Final = "\0"  # in place of a space at which nothing is broken; `terminal.safe` leaves none in a text
_COPIED: Final = re.compile(
    r"`[^`]*`"
    r"|(?:\w+: )?\{[^}]*\}"  # a setting of a framework
    r"|\bssh (?:-N |-[A-MO-Za-z] \S+ )*[^\s(]+(?: (?:ls|names|help|whoami|release \S+))?"
    r"|-[A-Z] \S+"
)


def broken(text: str, width: int) -> list[str]:
    """`text` in lines of `width` columns at most. A word or a command that is longer has a line of its own."""
    if len(text) <= width:
        return [text]
    indent = text[: len(text) - len(text.lstrip(" "))]
    glued = _COPIED.sub(lambda found: found[0].replace(" ", _GLUE), text[len(indent) :])
    lines = textwrap.wrap(
        glued,
        width,
        initial_indent=indent,
        subsequent_indent=indent + _FURTHER,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_GLUE, " ") for line in lines]
