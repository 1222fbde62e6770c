"""The live last line of a terminal, and its window's title: when they are written.

They are written when something has changed, at most once in LIVE_LINE_SECONDS, and only if they leave at once: a client
that does not read gets none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from ferry import limits

from .output import Output
from .screen import Screen
from .terminal import Terminal, safe

_GAP: Final = "  "  # behind the line, where messages of ssh itself begin


class LastLine:
    """The last line of one session. `text` gives it for a width in columns, `title` the window's title. `may_stand` says
    whether the line may be the last one now."""

    __slots__ = ("_may_stand", "_out", "_screen", "_terminal", "_text", "_timer", "_title", "_written")

    def __init__(
        self, out: Output, text: Callable[[int], str], title: Callable[[], str], may_stand: Callable[[], bool]
    ) -> None:
        self._out = out
        self._text = text
        self._title = title
        self._may_stand = may_stand
        self._screen = Screen()
        self._terminal: Terminal | None = None
        """None before the beginning and after the end."""
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0.0
        """When the line was written last, by the loop's clock."""

    @property
    def is_on(self) -> bool:
        """Whether there is one: other lines are written above it."""
        return self._terminal is not None

    def begin(self, terminal: Terminal) -> None:
        """The terminal takes escape sequences: write a last line from now on."""
        self._terminal = terminal
        self.redraw_soon()

    def resized(self, terminal: Terminal) -> None:
        """The terminal has another size."""
        if self.is_on:
            self._terminal = terminal
            self.redraw_soon()

    def write_above(self, text: str) -> None:
        """Write another line."""
        if self._terminal is not None:
            self._out.write(self._screen.line(text, self._terminal))
            self.redraw_soon()

    def clear(self) -> None:
        """Clear the screen."""
        if self.is_on:
            self._out.write(self._screen.cleared())
            self.redraw_soon()

    def redraw_soon(self) -> None:
        """Bring the line and the title up to date."""
        if self._timer is None and self.is_on:
            loop = asyncio.get_running_loop()
            wait = max(self._written + limits.LIVE_LINE_SECONDS - loop.time(), 0.0)
            self._timer = loop.call_later(wait, self._redraw)

    def _redraw(self) -> None:
        self._timer = None
        terminal = self._terminal
        if terminal is None or not self._may_stand():
            return
        width = terminal.width - len(_GAP)
        line = terminal.cut(self._text(width), width) + _GAP
        text = self._screen.redrawn(line, safe(self._title()), terminal, room=self._out.room)
        if text:
            self._out.write(text)
            self._written = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Erase the line for good, and restore the title."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._terminal is not None:
            self._out.write(self._screen.left(self._terminal))
        self._terminal = None
