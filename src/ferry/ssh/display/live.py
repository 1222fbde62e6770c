"""A session in a terminal: visits in columns, keys, and, where the terminal takes escape sequences, a live last line.

The live line and the window's title are read from the tunnels when they are written, so that visits cost the same with
and without them.

A session begins in plain text, and asks the terminal what it is. Once it answers, the first lines are written again with
colours and links. Where the output is a pipe nobody answers, and all stays plain.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

from ferry import limits, tasks
from ferry.amounts import number
from ferry.kinds import kind_of
from ferry.names import Address, ConnectionId, Endpoint, TunnelId
from ferry.ssh.notices import NoticesInForce, TunnelShown
from ferry.visits import Visit

from .figures import Figures
from .first_lines import FirstLines
from .keys import Key
from .last_line import LastLine
from .output import Output
from .qr import Codes, qr_lines
from .terminal import QUERY, UNKNOWN_COLUMNS, Terminal, Tone, safe
from .text import TextDisplay
from .visit_lines import VisitColumns

_URL: Final = re.compile(r"https?://[!-~]+")
_CLEARS: Final = "c clear  "
_KEYS: Final = "? help  {clears}s statistics  r QR code  p pause  q quit"
_HELP: Final = (
    "? this help",
    "c clear the screen",
    "s statistics of this session",
    "r QR code of the web address; once more: of the next one",
    "p pause the lines about visitors, or go on",
    "q quit, as Ctrl-C does: the forwards {forwards}",
    "Times are UTC. Values in queries are left out: to see them,",
    "add query=full after the gateway's name.",
)


class WatchedClient(Protocol):
    """The client whose tunnels are shown."""

    @property
    def id(self) -> ConnectionId: ...

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], TunnelShown]:
        """Its tunnels that are up."""
        ...

    @property
    def visitors(self) -> int:
        """Requests and connections in progress, over all its tunnels."""
        ...

    @property
    def ssh_may_write(self) -> bool:
        """Ssh is about to write a line of its own, which would stand behind the live line. Then the sessions are
        refreshed."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class LiveDisplay(TextDisplay):
    """The lines of a session with forwards in a terminal."""

    def __init__(
        self,
        out: Output,
        in_force: NoticesInForce,
        client: WatchedClient,
        terminal: Terminal,
        *,
        whole_query: bool,
        ends_forwards: bool,
    ) -> None:
        """`ends_forwards`: the forwards close with this session."""
        super().__init__(out, in_force, terminal)
        self._client = client
        self._ends_forwards = ends_forwards
        self._stated = terminal
        """The terminal, as the client has described it."""
        self._answered = False
        self._first = FirstLines()
        """The lines before its answer."""
        self._columns = VisitColumns(whole_query=whole_query)
        self._figures = Figures()
        self._last = LastLine(out, self._live_line, self._title, lambda: not client.ssh_may_write)
        self._begun = False
        self._unshown: Counter[str] | None = None
        """Visits that this pause has hidden, by what they are called; None without a pause."""
        self._lasting: OrderedDict[tuple[TunnelId, Endpoint], None] = OrderedDict()
        """WebSockets and event streams that are open, LASTING_REMEMBERED at most."""
        self._codes = Codes()

    # --- forwards and visits

    def begun(self) -> None:
        self._begun = True
        self._line(self._keys, Tone.DIM)
        if self._stated.styled:
            self._out.write(QUERY)

    @property
    def _keys(self) -> str:
        return _KEYS.format(clears=_CLEARS if self._terminal.styled else "")

    def _answer(self) -> None:
        """The terminal is there. Once more it changes nothing."""
        if not self._begun or not self._stated.styled:
            return
        self._answered = True
        plain = self._keys
        self._terminal = self._stated
        erased, first = self._first.take(self._stated.columns)
        if self._out.room:
            self._out.write(erased)
            for text, tone in first:
                self._put_line(self._keys if text == plain else text, tone)
        self._last.begin(self._terminal)

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        lasted = self._lasting.pop((visit.tunnel, visit.peer), True) is None
        self._figures.visited(address, visit, lasted=lasted)
        if shown:
            self._show_visit(address, visit)
        self._last.redraw_soon()

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        self._lasting[visit.tunnel, visit.peer] = None
        if len(self._lasting) > limits.LASTING_REMEMBERED:
            self._lasting.popitem(last=False)
        if shown:
            self._show_visit(address, visit, lasting=True)
        self._last.redraw_soon()

    def _show_visit(self, address: Address, visit: Visit, *, lasting: bool = False) -> None:
        if self._unshown is not None:
            if not lasting:
                self._unshown[kind_of(address.kind).visit_word] += 1
            return
        self._first.forget()
        several = len(self._client.forwards) > 1
        now = self._client.now()
        for line in self._columns.lines(address, visit, self._terminal, now=now, several=several, lasting=lasting):
            self._put(line)

    # --- keys

    def key(self, key: Key) -> None:
        match key:
            case Key.HELP:
                for line in _HELP:
                    self.say(line.format(forwards="close" if self._ends_forwards else "stay"))
            case Key.CLEAR:
                self._clear()
            case Key.STATISTICS:
                self._show_statistics()
            case Key.QR_CODE:
                self._show_code_soon()
            case Key.PAUSE:
                self._pause_or_go_on()
            case Key.QUIT:
                pass  # the session does
            case Key.ANSWER:
                self._answer()

    def _clear(self) -> None:
        if self._terminal.styled and self._out.takes_line():
            self._last.clear()
            self._ca_noted = False
            for tunnel in self._client.forwards.values():
                self.forward_opened(tunnel, alone=False)

    def _show_statistics(self) -> None:
        tunnels = list(self._client.forwards.values())
        self._figures.update(tunnels)
        for line in self._figures.lines(self._client.visitors):
            self.say(line)
        if len(tunnels) > 1:
            labels = [kind_of(tunnel.address.kind).short(str(tunnel.address)) for tunnel in tunnels]
            columns = min(max(map(len, labels)), self._terminal.width // 3)
            for label, tunnel in zip(labels, tunnels, strict=True):
                self.say(f"{self._terminal.cut(label, columns):<{columns}}  {self._figures.of(tunnel)}")

    def _pause_or_go_on(self) -> None:
        if self._unshown is None:
            self._unshown = Counter()
            self.say("paused: p goes on")
        else:
            unshown, self._unshown = self._unshown, None
            self.say(f"{self._figures.counted(unshown)} not shown")
        self._last.redraw_soon()

    def _show_code_soon(self) -> None:
        urls = self._in_force.notices.urls
        addresses = [tunnel.address for tunnel in self._client.forwards.values()]
        found = [kind_of(one.kind).url(one, urls) for one in addresses if kind_of(one.kind).has_host]
        shared = [url for url in found if url is not None]
        if not shared:
            self.say("no web address is up: a QR code is for one")
        elif (url := self._codes.next_of(shared)) is not None:
            tasks.spawn(f"QR code {self._client.id}", self._show_code(url))

    async def _show_code(self, url: str) -> None:
        rows = await self._codes.rows(url)
        if len(rows[0]) > (self._terminal.columns or UNKNOWN_COLUMNS):
            self.say(f"the QR code takes {len(rows[0])} columns: widen the window")
            return
        self._first.forget()
        for line in qr_lines(rows, self._terminal):
            self._put(line)
        self._put(self._terminal.link(safe(url)))

    # --- the live line

    def _live_line(self, width: int) -> str:
        self._figures.update(self._client.forwards.values())
        return self._figures.live(self._client.visitors, self._unshown, width)

    def _title(self) -> str:
        tunnels = list(self._client.forwards.values())
        more = f" +{len(tunnels) - 1}" if len(tunnels) > 1 else ""
        name = f"{tunnels[0].address}{more}: " if tunnels else ""
        return f"{name}{number(self._client.visitors, 'visitor')}"

    def resized(self, terminal: Terminal) -> None:
        self._stated = terminal
        self._terminal = terminal if self._answered else replace(terminal, no_color=True)
        self._first.forget()
        self._last.resized(self._terminal)

    def refresh(self) -> None:
        self._last.redraw_soon()

    def close(self) -> None:
        self._begun = False
        self._last.end()

    # --- output

    def _put_line(self, text: str, tone: Tone, *, error: bool = False) -> None:
        super()._put_line(text, tone, error=error)
        if error:
            self._first.forget()  # ssh writes a line of its own about a refused forward, at any time
        else:
            self._first.add(text, tone)

    def _painted(self, text: str, tone: Tone) -> str:
        linked = _URL.sub(lambda found: self._terminal.link(found[0]), text)
        return self._terminal.paint(linked, tone)

    def _write(self, text: str, *, error: bool) -> None:
        if self._last.is_on:  # ssh writes stderr and stdout in any order: a line on stderr could meet the live line
            self._last.write_above(text)
        else:
            super()._write(text, error=error)
