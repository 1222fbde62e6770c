"""A terminal as small as a test needs: it obeys what a session sends, and complains of all else.

It has no height, so lines that scroll out of sight stay in `lines`.
"""

from __future__ import annotations

import re
from typing import Final

ANSWER: Final = b"\x1b[?62;22c"
"""What a terminal says if it is asked."""
_PART: Final = re.compile(
    r"\x1b\[(?P<numbers>[0-9;]*)(?P<final>[A-Za-z])"
    r"|\x1b\](?P<string>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|(?P<control>[\x00-\x1f\x7f-\x9f])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
)


class TinyScreen:
    """What stands on the screen, as lines, and what the window is called."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self.tones: list[str] = []
        """The parameters of all colours so far."""
        self.links: list[str] = []
        self.title = ""
        self.asked = 0
        """How often it was asked what it is."""
        self.saved: list[str] = []
        """Titles that were saved and not restored."""
        self._row = 0
        self._column = 0
        self._rest = ""

    def feed(self, data: bytes) -> None:
        """Obey `data`, which may end inside a sequence."""
        text = self._rest + data.decode()
        at = 0
        while at < len(text):
            part = _PART.match(text, at)
            if part is None:
                break
            at = part.end()
            if part["text"]:
                for character in part["text"]:
                    self._print(character)
            elif part["control"]:
                self._control(part["control"])
            elif part["string"] is not None:
                self._string(part["string"])
            else:
                self._sequence(part["numbers"], part["final"])
        self._rest = text[at:]
        assert len(self._rest) < 300, f"an unknown sequence: {self._rest[:20]!r}"

    @property
    def last(self) -> str:
        """The last line."""
        return self.lines[-1]

    def _print(self, character: str) -> None:
        if self._column == self.columns:
            self._row, self._column = self._row + 1, 0
        self._reach()
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
        self._column += 1

    def _reach(self) -> None:
        while len(self.lines) <= self._row:
            self.lines.append("")

    def _control(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        else:
            assert character == "\n", f"a control character: {character!r}"
            self._row += 1
            self._reach()

    def _string(self, string: str) -> None:
        number, _, value = string.partition(";")
        if number == "2":
            self.title = value
        else:
            assert number == "8", f"an unknown OSC: {string!r}"
            url = value.partition(";")[2]
            if url:
                self.links.append(url)

    def _sequence(self, numbers: str, final: str) -> None:
        match final, numbers:
            case "m", _:
                self.tones.append(numbers)
            case "c", "":
                self.asked += 1
            case "A", _:
                self._row = max(0, self._row - int(numbers or 1))
            case "J", "" | "0":
                del self.lines[self._row + 1 :]
                self.lines[self._row] = self.lines[self._row][: self._column]
            case "J", "2" | "3":
                self.lines, self._row = [""], 0
            case "H", "":
                self._row = self._column = 0
            case "t", "22;2":
                self.saved.append(self.title)
            case "t", "23;2":
                self.title = self.saved.pop()
            case _:
                raise AssertionError(f"an unknown sequence: {numbers}{final}")
