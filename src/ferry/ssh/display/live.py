"""A session in a terminal: visits in columns, keys, and, where the terminal takes escape sequences, a live last line.

The live line and the window's title are read from the tunnels when they are written, so that visits cost the same with
and without them. They are written when something has changed, at most once in LIVE_LINE_SECONDS, and only if they leave
at once: a client that does not read gets none.

A session begins in plain text, and asks the terminal what it is. Once it answers, the first lines are written again with
colours and links. Where the output is a pipe nobody answers, and all stays plain.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
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
from .keys import Key
from .output import Output
from .qr import qr_lines, qr_rows
from .screen import Screen
from .terminal import QUERY, UNKNOWN_COLUMNS, Terminal, Tone, safe
from .text import TextDisplay
from .visit_lines import VisitColumns

_URL: Final = re.compile(r"https?://[!-~]+")
_GAP: Final = "  "  # behind the live line, where messages of ssh itself begin
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
    def answers_held(self) -> bool:
        """Answers to its refused forwards are held: ssh writes a line of its own when it gets them. Then the sessions are
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
        self._first: list[tuple[str, Tone]] | None = []
        """The lines before its answer; None if they cannot be written again."""
        self._columns = VisitColumns(whole_query=whole_query)
        self._figures = Figures()
        self._screen = Screen()
        self._begun = False
        self._closed = False
        self._unshown: int | None = None
        """Visits that this pause has hidden; None without a pause."""
        self._lasting: OrderedDict[tuple[TunnelId, Endpoint], None] = OrderedDict()
        """WebSockets and event streams that are open, LASTING_REMEMBERED at most."""
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0.0
        """When the live line was written last, by the loop's clock."""
        self._codes = 0
        """QR codes shown so far."""
        self._coding = False
        """One is being made."""

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
        """The terminal is there."""
        if self._answered or not self._begun or not self._stated.styled:
            return
        self._answered = True
        first, self._first = self._first, None
        plain = self._keys
        self._terminal = self._stated
        rows = sum(1 + max(len(text) - 1, 0) // self._stated.columns for text, _ in first or ())
        if first and rows <= limits.FIRST_ROWS and self._out.room:
            self._out.write(f"\r\x1b[{rows}A\x1b[J")
            for text, tone in first:
                self._put_line(self._keys if text == plain else text, tone)
        self._redraw_soon()

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        lasted = self._lasting.pop((visit.tunnel, visit.peer), True) is None
        self._figures.visited(address, visit, lasted=lasted)
        if shown:
            self._show_visit(address, visit)
        self._redraw_soon()

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        self._lasting[visit.tunnel, visit.peer] = None
        if len(self._lasting) > limits.LASTING_REMEMBERED:
            self._lasting.popitem(last=False)
        if shown:
            self._show_visit(address, visit, lasting=True)
        self._redraw_soon()

    def _show_visit(self, address: Address, visit: Visit, *, lasting: bool = False) -> None:
        if self._unshown is not None:
            self._unshown += not lasting
            return
        self._first = None
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
            self._out.write(self._screen.cleared())
            self._ca_noted = False
            for tunnel in self._client.forwards.values():
                self.forward_opened(tunnel, alone=False)
            self._redraw_soon()

    def _show_statistics(self) -> None:
        tunnels = list(self._client.forwards.values())
        for line in self._figures.lines(self._figures.look(tunnels), self._client.visitors):
            self.say(line)
        if len(tunnels) > 1:
            labels = [kind_of(tunnel.address.kind).short(str(tunnel.address)) for tunnel in tunnels]
            columns = min(max(map(len, labels)), self._terminal.width // 3)
            for label, tunnel in zip(labels, tunnels, strict=True):
                self.say(f"{self._terminal.cut(label, columns):<{columns}}  {self._figures.of(tunnel)}")

    def _pause_or_go_on(self) -> None:
        if self._unshown is None:
            self._unshown = 0
            self.say("paused: p goes on")
        else:
            unshown, self._unshown = self._unshown, None
            self.say(f"{self._figures.counted(unshown)} not shown")
        self._redraw_soon()

    def _show_code_soon(self) -> None:
        """In a thread, one at a time: a code takes some ms."""
        urls = self._in_force.notices.urls
        addresses = [tunnel.address for tunnel in self._client.forwards.values()]
        found = [kind_of(one.kind).url(one, urls) for one in addresses if kind_of(one.kind).has_host]
        shared = [url for url in found if url is not None]
        if not shared:
            self.say("no web address is up: a QR code is for one")
        elif not self._coding:
            self._coding = True
            self._codes += 1
            tasks.spawn(f"QR code {self._client.id}", self._show_code(shared[(self._codes - 1) % len(shared)]))

    async def _show_code(self, url: str) -> None:
        try:
            rows = await asyncio.to_thread(qr_rows, url)
        finally:
            self._coding = False
        if len(rows[0]) > (self._terminal.columns or UNKNOWN_COLUMNS):
            self.say(f"the QR code takes {len(rows[0])} columns: widen the window")
            return
        self._first = None
        for line in qr_lines(rows, self._terminal):
            self._put(line)
        self._put(self._terminal.link(safe(url)))

    # --- the live line

    @property
    def _live(self) -> bool:
        return self._begun and not self._closed and self._terminal.styled

    @property
    def _ends_with_live_line(self) -> bool:
        """Whether the live line may be the last one now: a line that ssh is about to write would stand behind it."""
        return self._live and not self._client.answers_held

    def resized(self, terminal: Terminal) -> None:
        self._stated = terminal
        self._terminal = terminal if self._answered else replace(terminal, no_color=True)
        self._first = None
        self._redraw_soon()

    def refresh(self) -> None:
        self._redraw_soon()

    def _redraw_soon(self) -> None:
        if self._timer is None and self._ends_with_live_line:
            loop = asyncio.get_running_loop()
            wait = max(self._written + limits.LIVE_LINE_SECONDS - loop.time(), 0.0)
            self._timer = loop.call_later(wait, self._redraw)

    def _redraw(self) -> None:
        self._timer = None
        if not self._ends_with_live_line or not self._out.is_open:
            return
        terminal, tunnels = self._terminal, list(self._client.forwards.values())
        visitors = self._client.visitors
        width = terminal.width - len(_GAP)
        live = self._figures.live(self._figures.look(tunnels), visitors, self._unshown, width)
        title = safe(f"{_name(tunnels)}{number(visitors, 'visitor')}")
        text = self._screen.redrawn(terminal.cut(live, width) + _GAP, title, terminal, room=self._out.room)
        if text:
            self._out.write(text)
            self._written = asyncio.get_running_loop().time()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._live and (text := self._screen.left(self._terminal)):
            self._out.write(text)
        self._closed = True

    def _put_line(self, text: str, tone: Tone, *, error: bool = False) -> None:
        super()._put_line(text, tone, error=error)
        if error:
            self._first = None  # ssh writes a line of its own about a refused forward, at any time
        if self._first is not None:
            self._first.append((text, tone))
            if len(self._first) > limits.FIRST_ROWS:
                self._first = None

    def _painted(self, text: str, tone: Tone) -> str:
        linked = _URL.sub(lambda found: self._terminal.link(found[0]), text)
        return self._terminal.paint(linked, tone)

    def _write(self, text: str, *, error: bool) -> None:
        if self._live:  # ssh writes stderr and stdout in any order: a line on stderr could meet the live line
            self._out.write(self._screen.line(text, self._terminal))
            self._redraw_soon()
        else:
            super()._write(text, error=error)


def _name(tunnels: list[TunnelShown]) -> str:
    """What the title calls them."""
    if not tunnels:
        return ""
    more = f" +{len(tunnels) - 1}" if len(tunnels) > 1 else ""
    return f"{tunnels[0].address}{more}: "
