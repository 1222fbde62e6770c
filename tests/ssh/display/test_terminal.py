"""What a terminal gets, by what its client has said of it."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.ssh.display.terminal import PIPE, Terminal, Tone, safe

XTERM = Terminal("xterm-256color", 80)
URL = "http://blog.localhost:8080"


@pytest.mark.parametrize(
    ("terminal", "styled", "has_strings"),
    [
        (XTERM, True, True),
        (Terminal("linux", 80), True, False),  # it may print a title
        (Terminal("vt220", 80), True, False),
        (Terminal("dumb", 80), False, False),
        (Terminal("", 80), False, False),
        (Terminal("xterm", 0), False, False),  # a script's
        (Terminal("xterm", 80, no_color=True), False, False),
        (PIPE, False, False),
    ],
)
def test_escape_sequences_are_for_terminals_that_are_known_and_wide(
    terminal: Terminal, *, styled: bool, has_strings: bool
) -> None:
    assert (terminal.styled, terminal.has_strings) == (styled, has_strings)
    assert terminal.paint("text", Tone.RED) == ("\x1b[31mtext\x1b[0m" if styled else "text")
    assert terminal.link(URL) == (f"\x1b]8;;{URL}\x1b\\{URL}\x1b]8;;\x1b\\" if has_strings else URL)
    assert terminal.cut("blog.localhost", 8) == ("blog.lo…" if styled else "blog....")


def test_text_without_a_tone_is_left_alone() -> None:
    assert XTERM.paint("text", Tone.NONE) == "text"


@pytest.mark.parametrize(("columns", "width"), [(0, 79), (1, 49), (50, 49), (80, 79), (120, 119), (2**32 - 1, 499)])
def test_a_line_leaves_the_last_column_free_and_has_a_least_and_a_most_width(columns: int, width: int) -> None:
    """TERMINAL_COLUMNS."""
    assert Terminal("xterm", columns).width == width


@pytest.mark.parametrize(("width", "text"), [(5, "12345"), (4, "123…"), (1, "1"), (0, ""), (-3, "")])
def test_a_cut_text_has_the_width_that_was_asked_for(width: int, text: str) -> None:
    assert XTERM.cut("12345", width) == text


CONTROLS = [chr(n) for n in chain(range(32), range(127, 160))]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\u200b")


@pytest.mark.parametrize("character", [*CONTROLS, *BIDI, "\u2028", "\u2029", "\ud800"])
def test_no_control_character_is_safe(character: str) -> None:
    shown = safe(f"a{character}b")
    assert character not in shown
    assert shown.isprintable()
    assert shown.startswith("a\\")


@given(st.text())
def test_safe_text_is_printable_and_stays_as_it_is(text: str) -> None:
    shown = safe(text)
    assert shown.isprintable()
    assert safe(shown) == shown
    if text.isprintable():
        assert shown == text
