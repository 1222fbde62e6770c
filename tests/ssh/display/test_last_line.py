"""The live last line: when it is written."""

from __future__ import annotations

from ferry.ssh.display.last_line import LastLine
from ferry.ssh.display.output import Output
from ferry.ssh.display.terminal import Terminal
from turns import timers, turns, until

XTERM = Terminal("xterm", 80)


class Figures:
    """The text of the line, and how often it was asked for."""

    def __init__(self) -> None:
        self.looks = 0

    def text(self, _width: int) -> str:
        self.looks += 1
        return "live"


async def test_changes_that_come_together_cost_one_look_at_the_figures() -> None:
    """Each visit is a change, and a look goes over all tunnels."""
    figures = Figures()
    line = LastLine(Output(), figures.text, lambda: "title", lambda: True)
    line.begin(XTERM)
    for _ in range(100):
        line.redraw_soon()
    await until(lambda: figures.looks)
    await turns()
    assert figures.looks == 1


async def test_nothing_is_written_while_the_line_may_not_stand() -> None:
    """While ssh itself may write to the terminal."""
    figures, may_stand = Figures(), False
    line = LastLine(Output(), figures.text, lambda: "title", lambda: may_stand)
    line.begin(XTERM)
    await timers(0.01)
    assert figures.looks == 0
    may_stand = True
    line.redraw_soon()
    await until(lambda: figures.looks)
