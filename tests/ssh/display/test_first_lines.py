"""The first lines of a session are written again only where they are in sight."""

from __future__ import annotations

from ferry.ssh.display.first_lines import FirstLines
from ferry.ssh.display.terminal import Tone

FIRST_ROWS = 20


def taken(*texts: str, columns: int = 80) -> tuple[str, list[str]]:
    lines = FirstLines()
    for text in texts:
        lines.add(text, Tone.NONE)
    erased, again = lines.take(columns)
    assert lines.take(columns) == ("", [])
    return erased, [text for text, _ in again]


def test_so_many_rows_are_written_again() -> None:
    for texts, columns in ((["a"] * FIRST_ROWS, 80), (["a" * 41] * (FIRST_ROWS // 2), 40)):
        assert taken(*texts, columns=columns) == (f"\r\x1b[{FIRST_ROWS}A\x1b[J", texts)


def test_nothing_is_erased_without_lines_or_past_so_many_rows() -> None:
    for texts, columns in (([], 80), (["a"] * (FIRST_ROWS + 1), 80), (["a" * 41] * (FIRST_ROWS // 2 + 1), 40)):
        assert taken(*texts, columns=columns) == ("", [])
