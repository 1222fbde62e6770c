"""Lines about visits: in a pipe always of the same form, in a terminal in columns that fit its width."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Final

from ferry.amounts import size, took
from ferry.kinds import kind_of
from ferry.names import Address, printable
from ferry.visits import Visit

from .terminal import PIPE, Terminal, Tone

_TARGET_CHARS: Final = 120  # of a target in a pipe
_INDENT: Final = " " * 10  # of a note: it stands under the status
_LEAST_PATH: Final = 10  # columns; a narrow terminal cuts long addresses of visitors first
_LEAST_ADDRESS: Final = 9


def visit_line(address: Address, visit: Visit, *, whole_query: bool = False) -> str:
    """One finished request or connection, for a pipe. Scripts read it."""
    time = f"{visit.seconds * 1000:.0f}ms" if visit.seconds < 10 else f"{visit.seconds:.0f}s"
    note = f"  {printable(visit.note)}" if visit.note else ""
    if kind_of(address.kind).has_status:
        target = _target(visit.target, _TARGET_CHARS, PIPE, whole=whole_query)
        return f"{printable(visit.method, 20)} {target} {visit.status or '-'} {time} {visit.peer.host}{note}"
    target = printable(visit.target, _TARGET_CHARS)
    return f"{target} {visit.peer} {time} {size(visit.up)} in, {size(visit.down)} out{note}"


class VisitColumns:
    """Writes the lines of one session. Columns grow with the longest text so far, so that they seldom move."""

    __slots__ = ("_address", "_label", "_method", "_second", "_time", "_whole_query")

    def __init__(self, *, whole_query: bool) -> None:
        self._whole_query = whole_query
        self._method = len("POST")
        self._label = 0
        self._address = _LEAST_ADDRESS
        self._second, self._time = 0, ""  # of the last line

    def lines(
        self, address: Address, visit: Visit, terminal: Terminal, *, now: float, several: bool, lasting: bool = False
    ) -> list[str]:
        """One visit: a line, and a second one for its note. `now` is in seconds since the epoch. `several`: the session
        shows more than one tunnel, so that each line names its own. `lasting`: it goes on."""
        kind = kind_of(address.kind)
        if kind.has_status:
            status = str(visit.status or "-")
            method = printable(visit.method, 20)
            self._method = max(self._method, min(len(method), len("OPTIONS")))
            what = f"{method:<{self._method}} "
            target = _target(visit.target, terminal.width, terminal, whole=self._whole_query)
        else:
            status, what, target = "-", "", f"{size(visit.up)} in, {size(visit.down)} out"
        if int(now) != self._second:
            self._second, self._time = int(now), datetime.fromtimestamp(now, UTC).strftime("%H:%M:%SZ")
        time = self._time
        before = f"{status:>3} {'open' if lasting else took(visit.seconds):>5} "
        if several:
            before += self._tunnel(kind.short(visit.address), terminal)
        before += what
        left = terminal.width - len(time) - 1 - len(before) - 1  # for the target and the visitor
        host = visit.peer.host
        self._address = max(self._address, len(host))
        columns = max(_LEAST_ADDRESS, min(self._address, left - _LEAST_PATH))
        path = max(left - columns, 1)
        middle = f"{before}{terminal.cut(target, path):<{path}}"
        visitor = terminal.paint(terminal.cut(host, columns), Tone.DIM)
        found = [f"{terminal.paint(time, Tone.DIM)} {terminal.paint(middle, _tone(visit))} {visitor}"]
        if visit.note:
            note = textwrap.wrap(printable(visit.note), terminal.width - len(_INDENT))
            found += [_INDENT + terminal.paint(line, Tone.RED) for line in note]
        return found

    def _tunnel(self, label: str, terminal: Terminal) -> str:
        label = printable(label, 80)
        self._label = max(self._label, len(label))
        columns = min(self._label, terminal.width // 8)
        return f"{terminal.cut(label, columns):<{columns}} "


def _tone(visit: Visit) -> Tone:
    if visit.status >= 500 or visit.note:
        return Tone.RED
    return Tone.YELLOW if visit.status >= 400 else Tone.NONE


def _target(target: str, most: int, terminal: Terminal, *, whole: bool) -> str:
    """A request's target, safe for a terminal, and about `most` characters of it at most. It has the values of its query
    only if `whole`: they may be secrets."""
    path, mark, query = target.partition("?")
    if whole or not mark or len(path) >= most:
        return printable(target, most)
    dots = terminal.dots
    parts = [_without_value(part, dots) for part in query[: most - len(path)].split("&")]
    return f"{printable(path, most)}?{'&'.join(parts)}"


def _without_value(part: str, dots: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return dots if name else ""  # it may be the value itself
    return f"{printable(name)}={dots if value else ''}"
