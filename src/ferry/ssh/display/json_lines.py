"""Objects, for `--output json`: one a line, all on stdout."""

from __future__ import annotations

import json

from ferry.names import Address
from ferry.ssh.notices import NoticesInForce, TunnelShown
from ferry.ssh.refusals import RefusedForward
from ferry.visits import Visit

from .keys import Key
from .output import Output
from .terminal import Terminal
from .text import FEW_KEYS, dropped_line


class JsonDisplay:
    """Each line is one JSON object. The methods are those of `session.Display`."""

    def __init__(self, out: Output, in_force: NoticesInForce, *, in_terminal: bool) -> None:
        self._out = out
        self._in_force = in_force
        self._ending = "\r\n" if in_terminal else "\n"

    # --- forwards and visits

    def begun(self) -> None:
        """There is nothing to add."""

    def forward_opened(self, tunnel: TunnelShown, *, alone: bool) -> None:
        """`forward`, `success`."""
        del alone
        self._object(self._in_force.notices.forward_fields(tunnel))

    def forward_refused(self, refused: RefusedForward) -> None:
        """`forward`, `refused`."""
        fields: dict[str, object] = {"event": "forward", "status": "refused", "asked": refused.asked}
        self._object(fields | {"code": refused.code, "message": refused.why})

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """`visit`."""
        if shown:
            self._object(self._in_force.notices.visit_fields(address, visit))

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """There is one object for each visit, at its end."""

    # --- answers

    def say(self, line: str, **fields: object) -> None:
        """`message`, unless the `fields` name another event."""
        self._object({"event": "message", "message": line} | fields)

    def complain(self, line: str, **fields: object) -> None:
        """`error`."""
        self.say(line, event="error", **fields)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """The `fields` alone."""
        del line
        self._object(fields)

    # --- the terminal

    def key(self, key: Key) -> None:
        """Only help has an answer."""
        if key is Key.HELP:
            self.say(FEW_KEYS)

    def resized(self, terminal: Terminal) -> None:
        """Objects have no width."""

    def refresh(self) -> None:
        """Nothing changes by itself."""

    def close(self) -> None:
        """Nothing is to be undone."""

    # --- output

    def _object(self, fields: dict[str, object]) -> None:
        if not self._out.takes_line():
            return
        if dropped := self._out.dropped():
            note: dict[str, object] = {"event": "dropped", "message": dropped_line(dropped), "lines": dropped}
            self._out.write(json.dumps(note) + self._ending)
        self._out.write(json.dumps(fields) + self._ending)
