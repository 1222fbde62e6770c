"""Plain lines: in a pipe, where scripts read them, and of commands.

In a terminal all lines fit its width. In a pipe sentences on stdout fit PIPE_COLUMNS; rows of a table, the lines that
scripts parse, and stderr stay in one piece.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ferry import limits
from ferry.kinds.web import CA_NOTE
from ferry.names import Address
from ferry.ssh.notices import NoticesInForce, TunnelShown, refusal_line
from ferry.ssh.refusals import RefusedForward
from ferry.visits import Visit

from .keys import Key
from .output import Output
from .sentences import broken
from .terminal import PIPE, Terminal, Tone, safe
from .visit_lines import visit_line

FEW_KEYS: Final = "keys: q or Ctrl-C ends, ? shows this"


class TextDisplay:
    """Lines of text. In a `terminal` they end in CR LF."""

    def __init__(
        self, out: Output, in_force: NoticesInForce, terminal: Terminal | None = None, *, whole_query: bool = False
    ) -> None:
        self._out = out
        self._in_force = in_force
        self._terminal = PIPE if terminal is None else replace(terminal, no_color=True)
        self._ending = "\n" if terminal is None else "\r\n"
        self._whole_query = whole_query
        self._ca_noted = False

    # --- forwards and visits

    def begun(self) -> None:
        """All that there is has been shown, and the session stays."""

    def forward_opened(self, tunnel: TunnelShown, *, alone: bool) -> None:
        """Show a granted forward. `alone`: the connection has requested no other."""
        for line in self._in_force.notices.forward_lines(tunnel, alone=alone):
            if line == CA_NOTE:  # once per session
                if self._ca_noted:
                    continue
                self._ca_noted = True
            if line.startswith(" "):
                self._line(line, Tone.DIM, pipe_columns=limits.PIPE_COLUMNS)
            else:
                self._put_line(safe(line), Tone.GREEN)  # it has the address, and is in one piece

    def forward_refused(self, refused: RefusedForward) -> None:
        """Show a refused forward, on stderr."""
        self._line(refusal_line(refused), Tone.RED, error=True)

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A visit is over. `shown`: the operator lets sessions show visits."""
        if shown:
            self._line(visit_line(address, visit, whole_query=self._whole_query))

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A WebSocket or an event stream has opened. `shown` is as in `visited`."""

    # --- answers

    def say(self, line: str, **fields: object) -> None:
        """One sentence; `fields` are for JSON."""
        del fields
        self._line(line, pipe_columns=limits.PIPE_COLUMNS)

    def complain(self, line: str, **fields: object) -> None:
        """One sentence on stderr: what cannot be done, and why."""
        del fields
        self._line(line, error=True)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """One row of a command's answer, which may have several lines."""
        del fields
        for each in line.splitlines():
            self._line(each)

    # --- the terminal

    def key(self, key: Key) -> None:
        """Do what a key asks for. The session itself quits."""
        if key is Key.HELP:
            self.say(FEW_KEYS)

    def resized(self, terminal: Terminal) -> None:
        """The terminal has another size."""
        self._terminal = replace(terminal, no_color=True)

    def refresh(self) -> None:
        """Once a second: bring up to date what changes by itself."""

    def close(self) -> None:
        """Write nothing more that changes by itself, and leave the terminal as it was."""

    # --- output

    def _line(self, text: str, tone: Tone = Tone.NONE, *, error: bool = False, pipe_columns: int | None = None) -> None:
        """Write `text`, broken at the terminal's width. Without one, break it at `pipe_columns` (None: not at all)."""
        text = safe(text)
        columns = self._terminal.width if self._terminal.columns else pipe_columns
        for line in [text] if columns is None else broken(text, columns):
            self._put_line(line, tone, error=error)

    def _put_line(self, text: str, tone: Tone, *, error: bool = False) -> None:
        """Write one line of safe text."""
        self._put(self._painted(text, tone), error=error)

    def _painted(self, text: str, tone: Tone) -> str:
        """Safe text as the terminal gets it: in colour."""
        return self._terminal.paint(text, tone)

    def _put(self, text: str, *, error: bool = False) -> None:
        """Write one line that is safe, or count it as dropped."""
        if not self._out.takes_line():
            return
        if dropped := self._out.dropped():
            self._write(dropped_line(dropped), error=False)
        self._write(text, error=error)

    def _write(self, text: str, *, error: bool) -> None:
        self._out.write(text + self._ending, error=error)


def dropped_line(lines: int) -> str:
    """The note about lines that a client did not read."""
    return f"({lines} lines were dropped: your terminal did not read them)"
