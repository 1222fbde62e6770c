"""Sessions: the channels that a client reads (RFC 4254 §6).

A `Session` shows the client's forwards and a line per visit, and answers commands. With a terminal it has colours
and keys; without one it writes plain text. `--output json` makes each line one JSON object. If the client stops
reading, the session drops lines past SESSION_BACKLOG_BYTES and reports their number. It delays nothing else.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Final, Protocol

import asyncssh
from asyncssh.constants import EXTENDED_DATA_STDERR

from ferry import limits, tasks
from ferry.errors import InvalidInput
from ferry.kinds.web import CA_NOTE
from ferry.names import Address, ConnectionId, Identity
from ferry.protocol.habits import login_hint, no_files
from ferry.protocol.words import Words, parse_words, wants_json
from ferry.visits import Visit

from .commands import Commands
from .forward_requests import ForwardRequests
from .notices import NoticesInForce, TunnelShown, refusal_line, visit_line
from .refusals import RefusedForward

_DIM, _GREEN, _RED, _RESET = "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_log = logging.getLogger("ferry.ssh")
_KEYS: Final = "keys: q or Ctrl-C ends, ? shows this"
_NO_FORWARD: Final = "host-header= is for the forwards of its own command: write it behind ssh -R ..."


class SessionClient(Protocol):
    """The client of a session (`client.Client`)."""

    @property
    def id(self) -> ConnectionId: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def user(self) -> str:
        """The login name."""
        ...

    @property
    def requests(self) -> ForwardRequests:
        """Its requests for forwards, which the words of sessions shape."""
        ...

    @property
    def has_forwards(self) -> bool:
        """Whether the client has a forward now."""
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

    def leave(self, reason: str, /) -> None:
        """The person quits: close the forwards, and the connection if ssh does not close it."""
        ...


class Session(asyncssh.SSHServerSession[bytes]):
    """One session channel of a client."""

    def __init__(self, client: SessionClient, commands: Commands, in_force: NoticesInForce) -> None:
        self._client = client
        self._requests = client.requests
        self._commands = commands
        self._in_force = in_force
        self._channel: Any = None
        self._terminal = False
        self._dropped = 0
        self._begun = False
        self._ca_noted = False
        self._spoken = False
        """The client has sent `shell` or `exec`, with its words."""
        self._words = Words()
        self._without_forward = False
        """Its words are for a forward, and it has none."""
        self._number = self._requests.session_opened()
        client.session_opened(self)

    # --- asyncssh's callbacks

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        chan.resume_reading()  # unread input before the words would keep a channel open that the client closes

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.session_closed(self)
        if not self._spoken:
            self._requests.session_gone(self._number)

    def data_received(self, data: bytes, datatype: Any) -> None:
        del datatype
        if not self._terminal:
            return  # ignore input from a pipe
        keys = set(data)
        if not keys.isdisjoint(b"qQ\x03\x04"):
            self.quit()
        elif not keys.isdisjoint(b"?hH"):
            self.say(_KEYS)

    def eof_received(self) -> bool:
        """Keep our half open: end of file on stdin does not end a session."""
        return True

    # --- channel requests; `wire.session_channel` has their table

    def terminal_requested(self) -> bool:
        """The client requests a terminal. False at the second request (RFC 4254 §6.2)."""
        first, self._terminal = not self._terminal, True
        return first

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

    # --- output

    def _refuse_words_soon(self, why: str, logged: str) -> None:
        """Close the forwards that the words shape. Once the request is answered, say `why` and end."""
        closed = self._requests.words_refused(self._number, logged)
        asyncio.get_running_loop().call_soon(self._refuse_words, why, closed)

    def _refuse_words(self, why: str, closed: int) -> None:
        sentence = why if why.endswith("?") else f"{why}."
        held = " Its forwards are closed." if closed else ""
        self.complain(f"{sentence}{held}", error=why)
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
        for outcome in self._requests.outcomes if words.command is None else self._requests.untold:
            outcome.show_in(self)
        self._requests.told()
        if words.command is None:
            self._answer_login_name()
            if self._without_forward:
                self.complain(_NO_FORWARD)
            if client.has_forwards:
                if self._terminal and not words.json:
                    self.say(_KEYS)
                return
            if self._requests.count or self._without_forward:
                self.end(1)
                return
        tasks.spawn(f"command {client.id}", self._commands.run(self, client.identity, words))

    def _answer_login_name(self) -> None:
        client = self._client
        if (answer := login_hint(client.user, anonymous=client.identity.anonymous)) is None:
            return
        if self._words.json:
            self.say(answer)
        else:
            self._line(answer, error=True)

    def forward_opened(self, tunnel: TunnelShown) -> None:
        """A forward was granted."""
        if self._silent:
            return
        notices = self._in_force.notices
        if self._words.json:
            self._line(json.dumps(notices.forward_fields(tunnel)))
            return
        for line in notices.forward_lines(tunnel, alone=self._requests.count == 1):
            if line == CA_NOTE:  # once per session
                if self._ca_noted:
                    continue
                self._ca_noted = True
            self._line(line, _DIM if line.startswith(" ") else _GREEN)

    def forward_refused(self, refused: RefusedForward) -> None:
        """A forward was refused. A session that runs a command shows it too."""
        if not self._begun:
            return
        if self._words.json:
            fields = {"event": "forward", "status": "refused", "asked": refused.asked}
            self._line(json.dumps(fields | {"code": refused.code, "message": refused.why}))
            return
        self._line(refusal_line(refused), _RED, error=True)

    def visited(self, address: Address, visit: Visit) -> None:
        """A visitor was served."""
        if self._silent:
            return
        if self._words.json:
            self._line(json.dumps(self._in_force.notices.visit_fields(address, visit)))
            return
        self._line(visit_line(address, visit), _RED if visit.status >= 500 or visit.note else "")

    def say(self, line: str, **fields: object) -> None:
        """One line of text; with `--output json`, an object with `message` and `fields`."""
        if self._words.json:
            line = json.dumps({"event": "message", "message": line} | fields)
        self._line(line)

    def complain(self, line: str, **fields: object) -> None:
        """Say on stderr why something cannot be done; with `--output json` on stdout, as an object of the event
        `error`."""
        if self._words.json:
            self.say(line, event="error", **fields)
        else:
            self._line(line, error=True)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """One line of a command's answer: text, or `fields` as JSON."""
        self._line(json.dumps(fields) if self._words.json else line)

    @property
    def _silent(self) -> bool:
        """Whether it shows no forwards and visits: it has not begun, or it runs a command."""
        return not self._begun or self._words.command is not None

    def _line(self, text: str, colour: str = "", *, error: bool = False) -> None:
        if self._channel is None or self._channel.is_closing():
            return
        if self._channel.get_write_buffer_size() > limits.SESSION_BACKLOG_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.say(f"({dropped} lines were dropped: your terminal did not read them)", event="dropped", lines=dropped)
        if colour and self._terminal:
            text = f"{colour}{text}{_RESET}"
        ending = "\r\n" if self._terminal else "\n"
        self._channel.write((text + ending).encode("utf-8", "replace"), EXTENDED_DATA_STDERR if error else None)

    # --- the end

    def quit(self) -> None:
        """The person quits: close the forwards, then the session with status 0, which ssh exits with too."""
        self._client.leave("ended from its terminal")
        self.end(0)

    def failed(self) -> None:
        """Log the exception that is being handled, tell the person, and end this session with status 1."""
        _log.exception("a session of SSH connection %s failed", self._client.id)
        try:
            self.complain("an error in the gateway ended this: its log says more")
        finally:
            self.end(1)

    def end(self, status: int) -> None:
        """Close this session with an exit status."""
        self._channel.exit(status)
