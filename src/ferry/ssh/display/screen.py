"""The screen of a terminal with a live last line: lines scroll above it. Text in, text out.

The live line is written without an end of line, so the next line replaces it. Lines that come together are written one
after the other, and the live line once behind them: see `Screen.redrawn`.
"""

from __future__ import annotations

from typing import Final

from .terminal import Terminal, Tone

_SAVE_TITLE: Final = "\x1b[22;2t"
_RESTORE_TITLE: Final = "\x1b[23;2t"
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


class Screen:
    """What a terminal shows now, as far as this session has written it."""

    __slots__ = ("_drawn_at", "_live", "_saved", "_shown", "_title")

    def __init__(self) -> None:
        self._shown = False
        """The live line is the last one on the screen."""
        self._live = ""
        self._drawn_at = 0
        """The terminal's width at that time, in columns."""
        self._title = ""
        self._saved = False
        """The terminal has saved the title that it had before."""

    def line(self, text: str, terminal: Terminal) -> str:
        """What writes one line above the live line."""
        return f"{self._erased(terminal)}{text}\r\n"

    def redrawn(self, live: str, title: str, terminal: Terminal, *, room: int) -> str:
        """What brings the live line and the title up to date; nothing if they are, or if it takes more than `room`
        bytes. `live` is plain text that fits the width; `title` is plain text."""
        same = self._shown and live == self._live and terminal.columns == self._drawn_at
        text = "" if same else f"{self._above(terminal) if self._shown else ''}{terminal.paint(live, Tone.CYAN)}"
        if titled := terminal.has_strings and title != self._title:
            text += f"{'' if self._saved else _SAVE_TITLE}\x1b]2;{title}\x07"
        if len(text.encode()) > room:
            return ""
        if titled:
            self._title, self._saved = title, True
        self._shown, self._live, self._drawn_at = True, live, terminal.columns
        return text

    def _erased(self, terminal: Terminal) -> str:
        if not self._shown:
            return ""
        self._shown = False
        return self._above(terminal)

    def _above(self, terminal: Terminal) -> str:
        """What erases the live line. A terminal that has become narrower shows it in several rows."""
        rows = max(len(self._live) - 1, 0) // max(terminal.columns, 1)
        up = f"\x1b[{rows}A" if rows else ""
        return f"\r{up}\x1b[J"

    def cleared(self) -> str:
        """What clears the terminal, with the lines that have scrolled out of sight."""
        self._shown = False
        return _CLEAR

    def left(self, terminal: Terminal) -> str:
        """What erases the live line for good and restores the title."""
        restore = _RESTORE_TITLE if self._saved else ""
        self._saved, self._title = False, ""
        return self._erased(terminal) + restore
