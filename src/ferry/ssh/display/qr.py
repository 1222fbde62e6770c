"""QR codes in text: each character is two modules, one above the other (the half blocks of Unicode)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from .terminal import Terminal

_BORDER: Final = 2  # light modules around the code; ISO/IEC 18004 asks for 4, and readers take 2
_INK_ON_PAPER: Final = "\x1b[38;5;16;48;5;231m"  # black on white, whatever colours the terminal has


def qr_rows(text: str) -> list[list[bool]]:
    """The modules of a QR code with its border, from the top; True is dark. It takes some ms: call it in a thread."""
    import segno

    code = segno.make(text, error="l", micro=False)
    return [[bool(module) for module in row] for row in code.matrix_iter(border=_BORDER)]


def qr_lines(rows: Sequence[Sequence[bool]], terminal: Terminal) -> list[str]:
    """The code as lines, half as many as `rows`. Without colour the light modules are drawn, for a dark background."""
    blank = [False] * len(rows[0])
    pairs = [(rows[n], rows[n + 1] if n + 1 < len(rows) else blank) for n in range(0, len(rows), 2)]
    blocks = " ▄▀█" if terminal.styled else "█▀▄ "
    lines = ["".join(blocks[2 * upper + lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]
    return [f"{_INK_ON_PAPER}{line}\x1b[0m" for line in lines] if terminal.styled else lines


class Codes:
    """The QR codes of one session's web addresses: each in turn, one at a time."""

    __slots__ = ("_begun", "_making")

    def __init__(self) -> None:
        self._begun = 0
        """Codes begun so far."""
        self._making = False

    def next_of(self, urls: Sequence[str]) -> str | None:
        """Begin the code of the next of these URLs. None while one is being made."""
        if self._making:
            return None
        self._making = True
        self._begun += 1
        return urls[(self._begun - 1) % len(urls)]

    async def rows(self, url: str) -> list[list[bool]]:
        """The code that was begun, made in a thread."""
        try:
            return await asyncio.to_thread(qr_rows, url)
        finally:
            self._making = False
