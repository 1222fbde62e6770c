"""Sessions: the channels that a client reads (RFC 4254 §6).

A `Session` shows the client's forwards and its visits, and answers commands. Its `display` decides how: plain text in a
pipe, columns and a live last line in a terminal, one JSON object a line with `--output json`. If the client stops
reading, the session drops lines past SESSION_BACKLOG_BYTES and reports their number. It delays nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

import asyncssh

from ferry import tasks
from ferry.errors import INTERNAL, InvalidInput
from ferry.names import Address, ConnectionId
from ferry.policy.keys import command_refusal
from ferry.protocol.habits import login_hint, no_files
from ferry.protocol.typed_forward import TypedForward
from ferry.protocol.words import Words, parse_words, wants_json
from ferry.visits import Visit

from .access import Allowed
from .commands import Commands
from .display.json_lines import JsonDisplay
from .display.keys import Key, Keys
from .display.live import LiveDisplay
from .display.output import Output
from .display.terminal import Terminal
from .display.text import TextDisplay
from .explaining import Explained
from .forward_requests import ForwardRequests
from .notices import NoticesInForce, TunnelShown
from .refusals import RefusedForward

_log = logging.getLogger("ferry.ssh")
_NO_FORWARD: Final = "host-header= is for the forwards of its own command: write it behind ssh -R ..."
_FORWARDS_STAY: Final = "The forwards stay up: this connection is shared. To end it:"


class Display(Protocol):
    """What a session shows, in one form of output."""

    def begun(self) -> None:
        """All that there is has been shown, and the session stays."""
        ...

    def forward_opened(self, tunnel: TunnelShown, /, *, alone: bool) -> None:
        """A forward was granted. `alone`: the connection has requested no other."""
        ...

    def forward_refused(self, refused: RefusedForward, /) -> None:
        """A forward was refused."""
        ...

    def visited(self, address: Address, visit: Visit, /, *, shown: bool) -> None:
        """A visit is over. `shown`: the operator lets sessions show visits."""
        ...

    def long_visit_began(self, address: Address, visit: Visit, /, *, shown: bool) -> None:
        """A WebSocket or an event stream has opened. `shown` is as in `visited`."""
        ...

    def say(self, line: str, **fields: object) -> None:
        """A sentence for people; `fields` for programs."""
        ...

    def complain(self, line: str, **fields: object) -> None:
        """What cannot be done, and why; `fields` for programs."""
        ...

    def show(self, line: str, fields: dict[str, object], /) -> None:
        """A row of a command's answer for people, of one line or more, or its `fields` for programs."""
        ...

    def key(self, key: Key, /) -> None:
        """Do what a key asks for. The session itself quits."""
        ...

    def resized(self, terminal: Terminal, /) -> None:
        """The terminal has another size."""
        ...

    def refresh(self) -> None:
        """Bring up to date what changes by itself."""
        ...

    def close(self) -> None:
        """Write nothing more that changes by itself, and leave the terminal as it was. Lines may follow."""
        ...


class SessionClient(Allowed, Protocol):
    """The client of a session (`client.Client`)."""

    @property
    def id(self) -> ConnectionId: ...

    @property
    def user(self) -> str:
        """The login name."""
        ...

    @property
    def requests(self) -> ForwardRequests:
        """Its requests for forwards, which the words of sessions shape."""
        ...

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], TunnelShown]:
        """Its tunnels that are up."""
        ...

    @property
    def visitors(self) -> int:
        """Requests and connections in progress, over all its tunnels."""
        ...

    async def explain(self, forward: TypedForward, /) -> Explained:
        """What a forward of this client would get. Raises StoreUnavailable."""
        ...

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def session_opened(self, session: Session, /) -> None:
        """A session has opened."""
        ...

    def session_closed(self, session: Session, /) -> None:
        """A session has closed."""
        ...

    def form_refused(self, asked: str, why: str, /, *, kept: str = "") -> None:
        """Refuse a feature that Ferry lacks. `asked` is the text as typed; the log and `ssh gw` show `kept`."""
        ...

    def host_told(self, host: str, /) -> None:
        """Remember how its machine is called, for the operator."""
        ...

    def refusals_seen(self) -> None:
        """The person has been shown the refusals so far."""
        ...

    def may_type(self) -> bool:
        """Count a key. False past KEYS_PER_SECOND: ignore it."""
        ...

    @property
    def ssh_may_write(self) -> bool:
        """Ssh is about to write a line of its own. Its sessions are refreshed when that is over."""
        ...

    def leave(self, session: Session, reason: str, /) -> bool:
        """The person quits a session: close the forwards, and the connection if ssh does not close it. False, and
        nothing is closed, if other commands share the connection."""
        ...


class Session(asyncssh.SSHServerSession[bytes]):
    """One session channel of a client."""

    def __init__(self, client: SessionClient, commands: Commands, in_force: NoticesInForce) -> None:
        self._client = client
        self._requests = client.requests
        self._commands = commands
        self._in_force = in_force
        self._channel: Any = None
        self._out = Output()
        self._terminal: Terminal | None = None
        self._no_color = False
        self._keys = Keys()
        self._display: Display = TextDisplay(self._out, in_force)
        self._begun = False
        self._spoken = False
        """The client has sent `shell` or `exec`, with its words."""
        self._words = Words()
        self._without_forward = False
        """Its words are for a forward, and it has none."""
        self.is_over = False
        """It has its exit status."""
        self._status: int | None = None
        """The exit status, while it waits for held answers."""
        self._number = self._requests.session_opened()
        client.session_opened(self)

    # --- asyncssh's callbacks

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        self._out.open(chan)
        chan.resume_reading()  # unread input before the words would keep a channel open that the client closes

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._display.close()
        self._client.session_closed(self)
        if not self._spoken:
            self._requests.session_gone(self._number)

    def data_received(self, data: bytes, datatype: Any) -> None:
        del datatype
        if self._terminal is None:
            return  # ignore input from a pipe
        keys = self._keys.typed(data)
        if Key.QUIT in keys:
            self.quit()
            return
        for key in keys:
            if key is Key.ANSWER or self._client.may_type():
                self._display.key(key)

    def eof_received(self) -> bool:
        """Keep our half open: end of file on stdin does not end a session."""
        return True

    # --- channel requests; `wire.session_channel` has their table

    def terminal_requested(self, name: str, columns: int) -> bool:
        """The client requests a terminal. False at the second request (RFC 4254 §6.2)."""
        if self._terminal is not None:
            return False
        self._terminal = Terminal(name, columns, no_color=self._no_color)
        if not self._spoken:
            self._display = TextDisplay(self._out, self._in_force, self._terminal)
        return True

    def resized(self, columns: int) -> None:
        """The terminal has another width, in columns; 0: it does not say which."""
        if self._terminal is not None and columns:
            self._terminal = replace(self._terminal, columns=columns)
            self._display.resized(self._terminal)

    def color_refused(self) -> None:
        """The client's environment has `NO_COLOR`."""
        self._no_color = True
        if self._terminal is not None:
            self._terminal = replace(self._terminal, no_color=True)

    def host_told(self, host: str) -> None:
        """The client's environment says how its machine is called."""
        self._client.host_told(host)

    def refuse_form(self, asked: str, why: str, *, kept: str = "") -> None:
        """The client requests a feature that Ferry lacks. The arguments are those of `SessionClient.form_refused`."""
        self._client.form_refused(asked, why, kept=kept)

    def started(self, command: str) -> bool:
        """The client sends its words: none with `shell`, `command` with `exec`. False at the second request."""
        if self._spoken:
            return False
        self._spoken = True
        urls = self._in_force.notices.urls
        try:
            self._words = parse_words(command, urls.gateway, urls.jump)
        except InvalidInput as error:
            self._words = Words(json=wants_json(command))
            self._refuse_words_soon(str(error), error.detail)
            return True
        shaped = self._requests.words_said(self._number, self._words.host_header)
        self._display = self._made_display(live=self._words.command is None)
        self._without_forward = bool(self._words.host_header) and not shaped
        self._requests.when_settled(self._begin_soon)
        return True

    def subsystem_wanted(self, name: str, *, kept: str) -> bool:
        """The client requests a subsystem (`sftp`), and Ferry has none. It is granted, to say so on stderr and to end with
        status 1: after a refusal stock ssh exits without a look at stderr. False if the words have come before."""
        if self._spoken:
            return False
        self._spoken = True
        why = no_files(self._in_force.notices.urls.jump) if name == "sftp" else "this gateway has no subsystems"
        self._client.form_refused(name, why, kept=kept)
        self._refuse_words_soon(why, f"the subsystem {kept}")
        return True

    # --- the beginning

    def _refuse_words_soon(self, why: str, logged: str) -> None:
        """Close the forwards that the words shape. Once the request is answered, say `why` and end."""
        self._display = self._made_display(live=False)
        closed = self._requests.words_refused(self._number, logged)
        asyncio.get_running_loop().call_soon(self._refuse_words, why, closed)

    def _refuse_words(self, why: str, closed: int) -> None:
        sentence = why if why.endswith("?") else f"{why}."
        also = " This command's forwards are closed." if closed else ""
        self.complain(f"{sentence}{also}")
        self.end(1)

    def _begin_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """All earlier forward requests are decided: show them, or run the command."""
        if self._channel.is_closing():
            return
        try:
            self._show_or_answer()
        except Exception:
            self.failed()

    def _show_or_answer(self) -> None:
        self._begun = True
        client, words = self._client, self._words
        for outcome in self._requests.outcomes if words.command is None else self._requests.unshown:
            outcome.show_in(self)
        self._requests.outcomes_shown()
        client.refusals_seen()
        if words.command is None:
            self._answer_login_name()
            if self._without_forward:
                self.complain(_NO_FORWARD)
            if client.forwards:
                self._display.begun()
                return
            if self._requests.count or self._without_forward:
                self.end(1)
                return
        if (refusal := command_refusal(client.may.key_line)) is not None:
            self.complain(refusal.public, code=refusal.code)
            self.end(1)
            return
        tasks.spawn(
            f"command {client.id}", self._commands.run(self, client.identity, client.may, words, client.explain)
        )

    def _made_display(self, *, live: bool) -> Display:
        """The display for the words. `live`: it may be one with keys and a live line."""
        words, terminal = self._words, self._terminal
        if words.json:
            return JsonDisplay(self._out, self._in_force, in_terminal=terminal is not None)
        if words.no_color and terminal is not None:
            terminal = self._terminal = replace(terminal, no_color=True)
        if live and terminal is not None:
            return LiveDisplay(
                self._out,
                self._in_force,
                self._client,
                terminal,
                whole_query=words.whole_query,
                ends_forwards=self.made_connection,
            )
        return TextDisplay(self._out, self._in_force, terminal, whole_query=words.whole_query)

    def _answer_login_name(self) -> None:
        client = self._client
        if (answer := login_hint(client.user, anonymous=client.identity.anonymous)) is None:
            return
        if self._words.json:
            self.say(answer)
        else:
            self.complain(answer)

    # --- what it shows

    def forward_opened(self, tunnel: TunnelShown) -> None:
        """A forward was granted."""
        if not self._silent:
            self._display.forward_opened(tunnel, alone=self._requests.count == 1)

    def forward_refused(self, refused: RefusedForward) -> None:
        """A forward was refused. A session that runs a command shows it too."""
        if self._begun:
            self._display.forward_refused(refused)

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A visitor was served. `shown`: the operator lets sessions show that."""
        if not self._silent:
            self._display.visited(address, visit, shown=shown)

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A WebSocket or an event stream has opened. `shown` is as in `visited`."""
        if not self._silent:
            self._display.long_visit_began(address, visit, shown=shown)

    def say(self, line: str, **fields: object) -> None:
        """One line of text; with `--output json`, an object with `message` and `fields`."""
        self._display.say(line, **fields)

    def complain(self, line: str, **fields: object) -> None:
        """Say on stderr why something cannot be done; with `--output json` on stdout, as an object of the event
        `error`."""
        self._display.complain(line, **fields)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """One row of a command's answer: text, or `fields` as JSON."""
        self._display.show(line, fields)

    def refresh(self) -> None:
        """Once a second, and when held answers have been sent: bring up to date what changes by itself."""
        if self._status is None:
            self._display.refresh()
        elif not self._requests.answers_held:
            status, self._status = self._status, None
            self._channel.exit(status)

    @property
    def _silent(self) -> bool:
        """Whether it shows no forwards and visits: it has not begun, or it runs a command."""
        return not self._begun or self._words.command is not None

    # --- the end

    @property
    def made_connection(self) -> bool:
        """Whether its command has made the connection, for its forwards."""
        return self._requests.made_connection(self._number)

    def quit(self) -> None:
        """The person quits: close the forwards, then the session with status 0, which ssh exits with too. On a shared
        connection (`ControlMaster`) only the session closes, and says so."""
        client = self._client
        if not client.leave(self, "ended from its terminal") and client.forwards:
            self.say(f"{_FORWARDS_STAY} ssh -O exit {self._in_force.notices.urls.gateway}")
        self.end(0)

    def failed(self) -> None:
        """Log the exception that is being handled, tell the person, and end this session with status 1."""
        _log.exception("a session of SSH connection %s failed", self._client.id)
        try:
            self.complain(INTERNAL)
        finally:
            self.end(1)

    def freeze(self) -> None:
        """The connection is about to end: leave the terminal as it was. Lines may follow."""
        self._display.close()

    def end(self, status: int) -> None:
        """Close this session with an exit status. Held answers go first: with `ExitOnForwardFailure` ssh is to exit at
        one, not with the status of a command that was quicker."""
        self.is_over = True
        self._display.close()
        if self._requests.answers_held:
            self._status = status
        else:
            self._channel.exit(status)
