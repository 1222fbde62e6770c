"""The first lines of a session, which a terminal gets once more, with colours and links, when it has answered."""

from __future__ import annotations

from collections import deque

from ferry import limits

from .terminal import Tone


class FirstLines:
    """The lines so far, while nothing else can stand among or below them. Past FIRST_ROWS they are not in sight."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: deque[tuple[str, Tone]] | None = deque(maxlen=limits.FIRST_ROWS + 1)
        """The last ones, for one more than FIRST_ROWS is too many. None: they cannot be written again."""

    def add(self, text: str, tone: Tone) -> None:
        """One more line, which fits the terminal."""
        if self._lines is not None:
            self._lines.append((text, tone))

    def forget(self) -> None:
        """Something else is written."""
        self._lines = None

    def take(self, columns: int) -> tuple[str, list[tuple[str, Tone]]]:
        """What erases the lines in a terminal of that width, and the lines to write in their place; nothing if they are
        not in sight. Forget them."""
        lines, self._lines = self._lines, None
        rows = sum(1 + max(len(text) - 1, 0) // columns for text, _ in lines or ())
        if not lines or rows > limits.FIRST_ROWS:
            return "", []
        return f"\r\x1b[{rows}A\x1b[J", list(lines)
