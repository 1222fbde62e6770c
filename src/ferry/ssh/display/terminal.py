"""The terminal of a session (RFC 4254 §6.2), and text that is safe for it.

Escape sequences are those of ECMA-48 and of xterm: colours (SGR), links (OSC 8) and the window's title (OSC 2, and
XTWINOPS 22 and 23 to save and to restore it). A terminal gets them if the client says what it is and how wide it is, and
if it has answered `QUERY`. `NO_COLOR` (https://no-color.org) and `TERM=dumb` turn all of them off. So does an unknown
width: a script that runs `ssh -tt` has no terminal of its own, and tells none.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ferry import limits

QUERY: Final = "\x1b[c"
"""Asks a terminal what it is (DA1). ssh requests a terminal if its input is one; the output may be a file or a pipe all
the same (`ssh … gw > log`), which answers nothing."""
UNKNOWN_COLUMNS: Final = 80  # the width for a terminal that does not tell its own
_DUMB: Final = frozenset({"", "dumb", "unknown"})
_NO_STRINGS: Final = ("linux", "vt", "ansi", "cons25", "sun")
"""The beginnings of the names of terminals that may print an OSC instead of obeying it."""


class Tone(enum.Enum):
    """A colour, with the parameter of its SGR sequence."""

    NONE = ""
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a client has said about its terminal."""

    name: str = ""
    """Its TERM."""
    columns: int = 0
    """0: unknown."""
    no_color: bool = False
    """The client's environment has `NO_COLOR`, or its words ask for no colour."""

    @property
    def styled(self) -> bool:
        """Whether it gets escape sequences."""
        return bool(self.columns) and not self.no_color and self.name not in _DUMB

    @property
    def has_strings(self) -> bool:
        """Whether it gets links and a title."""
        return self.styled and not self.name.startswith(_NO_STRINGS)

    @property
    def width(self) -> int:
        """The columns to fill, within TERMINAL_COLUMNS. The last column stays free: some terminals wrap behind it."""
        least, most = limits.TERMINAL_COLUMNS
        return max(least, min(most, self.columns or UNKNOWN_COLUMNS)) - 1

    @property
    def dots(self) -> str:
        """What stands for text that was cut."""
        return "…" if self.styled else "..."

    def paint(self, text: str, tone: Tone) -> str:
        """`text` in a colour."""
        return f"\x1b[{tone.value}m{text}\x1b[0m" if self.styled and tone is not Tone.NONE else text

    def link(self, url: str) -> str:
        """A URL that can be clicked on."""
        return f"\x1b]8;;{url}\x1b\\{url}\x1b]8;;\x1b\\" if self.has_strings else url

    def cut(self, text: str, width: int) -> str:
        """`text` in `width` columns at most. Each of its characters takes one."""
        if len(text) <= width:
            return text
        dots = self.dots
        return text[: width - len(dots)] + dots if width > len(dots) else text[: max(width, 0)]


PIPE: Final = Terminal()
"""No terminal at all."""


def safe(text: str) -> str:
    """`text` without any character that moves a cursor, hides or reorders text: these are escaped.

    Text from the network has gone through `names.printable` already. This holds for all other text too, and for code to
    come.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
