"""The live last line: when it is written."""

from __future__ import annotations

from ferry.ssh.display.last_line import LastLine
from ferry.ssh.display.output import Output
from ferry.ssh.display.terminal import Terminal
from turns import turns, until

XTERM = Terminal("xterm", 80)


async def test_changes_that_come_together_cost_one_look_at_the_figures() -> None:
    """Each visit is a change, and a look goes over all tunnels."""
    looks: list[int] = []

    def text(width: int) -> str:
        looks.append(width)
        return "live"

    line = LastLine(Output(), text, lambda: "title", lambda: True)
    line.begin(XTERM)
    for _ in range(100):
        line.redraw_soon()
    await until(lambda: looks)
    await turns()
    assert len(looks) == 1
