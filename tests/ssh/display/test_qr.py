"""QR codes in text."""

from __future__ import annotations

import pytest

from ferry.ssh.display.qr import Codes, qr_lines, qr_rows
from ferry.ssh.display.terminal import Terminal

URL = "https://serene-lobster.tunnels.example.com"
XTERM, PLAIN = Terminal("xterm", 80), Terminal("dumb", 80)
INK, END = "\x1b[38;5;16;48;5;231m", "\x1b[0m"


def test_a_code_has_its_three_corners_and_a_border_of_light_modules() -> None:
    rows = qr_rows(URL)
    size = len(rows)
    assert size == len(rows[0]) == 29 + 4  # version 3
    corner = [[True] * 7, [True, *[False] * 5, True], [True, False, True, True, True, False, True]]
    for top, left in ((2, 2), (2, size - 9), (size - 9, 2)):
        assert [row[left : left + 7] for row in rows[top : top + 3]] == corner
    assert not any(any(row) for row in (*rows[:2], *rows[-2:]))
    assert not any(row[0] or row[-1] for row in rows)


def test_two_rows_are_one_line_and_each_module_is_one_half_of_a_character() -> None:
    rows = [[True, True, False, False], [True, False, True, False], [True, False, False, True]]
    assert qr_lines(rows, PLAIN) == [" ▄▀█", "▄██▄"]
    assert qr_lines(rows, XTERM) == [f"{INK}█▀▄ {END}", f"{INK}▀  ▀{END}"]


@pytest.mark.parametrize("terminal", [PLAIN, XTERM])
def test_a_code_can_be_read_back_from_its_lines(terminal: Terminal) -> None:
    rows = qr_rows(URL)
    blocks = " ▄▀█" if terminal is XTERM else "█▀▄ "
    read: list[list[bool]] = []
    for line in qr_lines(rows, terminal):
        values = [blocks.index(character) for character in line.removeprefix(INK).removesuffix(END)]
        read += [[value >= 2 for value in values], [value % 2 == 1 for value in values]]
    assert read[: len(rows)] == rows


def test_the_code_of_a_long_name_fits_60_columns() -> None:
    assert len(qr_rows(f"https://{63 * 'a'}.{63 * 'b'}.example.com:8443")[0]) < 60


async def test_one_code_is_made_at_a_time() -> None:
    codes = Codes()
    urls = [URL, f"{URL}:8443"]
    assert codes.next_of(urls) == urls[0]
    assert codes.next_of(urls) is None
    await codes.rows(urls[0])
    assert codes.next_of(urls) == urls[1]
