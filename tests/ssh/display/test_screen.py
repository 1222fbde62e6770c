"""A live last line: it stays the last, is written only if it has changed, and leaves nothing behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.ssh.display.screen import Screen
from ferry.ssh.display.terminal import Terminal
from tiny_screen import TinyScreen

XTERM = Terminal("xterm", 80)
LINUX = Terminal("linux", 80)
ROOM = 1000


class Shown:
    """A screen, and the terminal that it writes to."""

    def __init__(self, terminal: Terminal = XTERM) -> None:
        self.terminal = terminal
        self.screen = Screen()
        self.seen = TinyScreen(terminal.columns)
        self.seen.title = "before"

    def line(self, text: str) -> None:
        self.seen.feed(self.screen.line(text, self.terminal).encode())

    def redraw(self, live: str, title: str = "title", room: int = ROOM) -> int:
        """Returns the bytes that were written."""
        text = self.screen.redrawn(live, title, self.terminal, room=room).encode()
        self.seen.feed(text)
        return len(text)


def test_lines_scroll_above_the_live_line() -> None:
    shown = Shown()
    shown.line("one")
    shown.redraw("0 visitors now")
    shown.line("two")
    shown.line("three")
    assert shown.seen.lines == ["one", "two", "three", ""]
    shown.redraw("1 visitor now")
    assert shown.seen.lines == ["one", "two", "three", "1 visitor now"]
    shown.redraw("22 visitors")
    assert shown.seen.last == "22 visitors"


def test_nothing_is_written_while_nothing_changes() -> None:
    shown = Shown()
    assert shown.redraw("live")
    assert shown.redraw("live") == 0
    assert shown.redraw("live", "another title")
    assert shown.seen.lines == ["live"]
    shown.line("a line has replaced it")
    assert shown.redraw("live", "another title")
    assert shown.redraw("live", "another title") == 0


def test_lines_that_come_together_cost_nothing_beside_themselves() -> None:
    screen = Screen()
    screen.redrawn("live", "", XTERM, room=ROOM)
    first, *others = (screen.line("text", XTERM) for _ in range(3))
    assert first.endswith("text\r\n")
    assert others == ["text\r\n"] * 2


def test_nothing_is_written_that_does_not_leave_at_once() -> None:
    shown = Shown()
    assert shown.redraw("live", room=0) == 0
    needed = shown.redraw("live")
    again = Shown()
    assert again.redraw("live", room=needed - 1) == 0
    assert again.seen.lines == [""]
    assert again.redraw("live", room=needed) == needed
    assert again.seen.lines == ["live"]


def test_the_title_is_saved_once_and_restored_at_the_end() -> None:
    shown = Shown()
    for title in ("one", "two"):
        shown.redraw("live", title)
        assert shown.seen.title == title
    assert shown.seen.saved == ["before"]
    shown.seen.feed(shown.screen.left(XTERM).encode())
    assert (shown.seen.title, shown.seen.saved, shown.seen.lines) == ("before", [], [""])
    assert shown.screen.left(XTERM) == ""


def test_a_console_gets_no_title() -> None:
    shown = Shown(LINUX)
    shown.redraw("live")
    shown.seen.feed(shown.screen.left(LINUX).encode())
    assert (shown.seen.title, shown.seen.saved) == ("before", [])


def test_a_cleared_screen_has_the_live_line_again() -> None:
    shown = Shown()
    shown.line("one")
    shown.redraw("live")
    shown.seen.feed(shown.screen.cleared().encode())
    assert shown.seen.lines == [""]
    shown.redraw("live")
    assert shown.seen.lines == ["live"]


@pytest.mark.parametrize(("columns", "rows"), [(80, 0), (60, 0), (50, 0), (49, 1), (25, 1), (24, 2)])
def test_a_terminal_that_has_become_narrower_shows_it_in_several_rows(columns: int, rows: int) -> None:
    screen = Screen()
    screen.redrawn("x" * 50, "", XTERM, room=ROOM)
    up = f"\x1b[{rows}A" if rows else ""
    assert screen.line("next", Terminal("xterm", columns)) == f"\r{up}\x1b[Jnext\r\n"


def test_another_width_draws_it_anew() -> None:
    shown = Shown()
    shown.redraw("live")
    shown.terminal = Terminal("xterm", 60)
    assert shown.redraw("live")
    assert shown.redraw("live") == 0


@given(st.lists(st.tuples(st.booleans(), st.text("abc ", min_size=1, max_size=70), st.sampled_from([0, ROOM]))))
def test_whatever_happens_all_lines_stand_in_order_and_the_live_line_is_the_last(
    steps: list[tuple[bool, str, int]],
) -> None:
    shown, lines, live = Shown(), [], ""
    for is_line, text, room in steps:
        if is_line:
            shown.line(text)
            lines.append(text)
            live = ""
        elif shown.redraw(text, room=room):
            live = text
    assert shown.seen.lines == [*lines, live]
