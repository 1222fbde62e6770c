"""What a client sees in its terminal: a `Screen` is one session channel (RFC 4254 §6).

It shows forwards as they come and go, a line per request, and answers a few commands. With a terminal there is colour
and keys; without one, plain text. `--output json` makes every line one JSON object. A screen whose reader has stopped
drops lines past SESSION_BACKLOG_BYTES and says how many: it never holds up anything else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from ferry import limits
from ferry.errors import InvalidInput
from ferry.kinds import kind_of
from ferry.kinds.web import CA_NOTE
from ferry.protocol.words import Words, parse_words
from ferry.visits import Visit

from . import notices

if TYPE_CHECKING:
    from .client import Client
    from .refusals import RefusedForward
    from .tunnel import SshTunnel

_DIM, _GREEN, _RED, _RESET = "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_KEYS: Final = "keys: q or Ctrl-C ends, ? shows this"


class Screen(asyncssh.SSHServerSession[bytes]):
    """One session channel of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._channel: Any = None
        self._terminal = False
        self._dropped = 0
        self._begun = False
        self._ca_noted = False
        self._spoken = False
        """The client has said what it wants (`shell` or `exec`)."""
        self._words = Words()
        self._number = client.holding.session_opened()
        client.screens.append(self)

    # --- asyncssh's callbacks

    def connection_made(self, chan: Any) -> None:
        self._channel = chan
        chan.resume_reading()  # else what is typed before the words would keep a channel that the client closes

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self in self._client.screens:
            self._client.screens.remove(self)
        if not self._spoken:
            self._client.holding.session_gone(self._number)

    def data_received(self, data: bytes, datatype: Any) -> None:
        del datatype
        if not self._terminal:
            return  # what a pipe sends is of no use, and its end is no reason to go
        keys = set(data)
        if not keys.isdisjoint(b"qQ\x03\x04"):
            self.quit()
        elif not keys.isdisjoint(b"?hH"):
            self.say(_KEYS)

    def eof_received(self) -> bool:
        """End of file on stdin never ends a session that holds forwards: keep our half open."""
        return True

    # --- what the client asks for (its channel has the table)

    def terminal_requested(self) -> bool:
        """A terminal is there; False for the second one (RFC 4254 §6.2)."""
        first, self._terminal = not self._terminal, True
        return first

    def refuse_form(self, asked: str, why: str, *, kept: str = "") -> None:
        """Something was asked for on this channel that Ferry does not do; `kept` as in `Client.form_refused`."""
        self._client.form_refused(asked, why, kept=kept)

    def started(self, command: str) -> bool:
        """The client has said its words: `shell` (none) or `exec`. False if it had said them before."""
        if self._spoken:
            return False
        self._spoken = True
        client = self._client
        try:
            self._words = parse_words(command, client.services.urls.gateway)
        except InvalidInput as error:
            closed = client.words_refused(self._number, error.detail)
            client.call_soon(self._refuse_words, str(error), closed)
            return True
        client.holding.session_said(self._number)
        client.when_settled(lambda: client.call_soon(self._begin))
        return True

    # --- what it shows

    def _refuse_words(self, why: str, closed: int) -> None:
        sentence = why if why.endswith("?") else f"{why}."
        held = " Its forwards are closed." if closed else ""
        self.say(f"{sentence}{held}", event="error", error=why)
        self.end(1)

    def _begin(self) -> None:
        """Everything that was asked before this screen has been decided: show it, and stay or go."""
        if self._channel.is_closing():
            return
        self._begun = True
        client, words = self._client, self._words
        if words.command is not None:
            client.front.run_command(client, self, words)
            return
        for entry in list(client.journal):
            self._show(entry)
        if client.forwards:
            if self._terminal and not words.json:
                self.say(_KEYS)
        elif client.asked:
            self.end(1)
        else:
            client.front.run_command(client, self, words)

    def _show(self, entry: SshTunnel | RefusedForward) -> None:
        from .tunnel import SshTunnel

        if not isinstance(entry, SshTunnel):
            self.forward_refused(entry)
        elif not entry.closed:
            self.forward_opened(entry)

    def forward_opened(self, tunnel: SshTunnel) -> None:
        """A forward was granted."""
        if self._silent:
            return
        services = self._client.services
        if self._words.json:
            self._line(json.dumps(notices.forward_json(tunnel, services)))
            return
        for line in notices.forward_lines(tunnel, services):
            if line == CA_NOTE:  # once is enough
                if self._ca_noted:
                    continue
                self._ca_noted = True
            self._line(line, _DIM if line.startswith(" ") else _GREEN)

    def forward_refused(self, refused: RefusedForward) -> None:
        """A forward was refused."""
        if self._silent:
            return
        if self._words.json:
            fields = {"event": "forward", "status": "refused", "asked": refused.asked}
            self._line(json.dumps(fields | {"code": refused.code, "message": refused.why}))
            return
        self._line(notices.refusal_line(refused), _RED)

    def visited(self, tunnel: SshTunnel, visit: Visit) -> None:
        """A visitor was served."""
        if self._silent:
            return
        if self._words.json:
            fields = {
                "event": "visit",
                "address": kind_of(tunnel.address.kind).spelled(tunnel.address, self._client.services.urls),
                "method": visit.method,
                "target": visit.target,
                "status": visit.status,
                "seconds": round(visit.seconds, 6),
                "visitor": str(visit.peer),
                "bytes_up": visit.up,
                "bytes_down": visit.down,
                "note": visit.note,
            }
            self._line(json.dumps(fields))
            return
        self._line(notices.visit_line(visit), _RED if visit.status >= 500 or visit.note else "")

    def say(self, line: str, **fields: object) -> None:
        """One line of text; with `--output json`, an object with `message` and `fields`."""
        if self._words.json:
            line = json.dumps({"event": "message", "message": line} | fields)
        self._line(line)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """One line of a command's answer: text, or `fields` as JSON."""
        self._line(json.dumps(fields) if self._words.json else line)

    @property
    def _silent(self) -> bool:
        """Whether forwards and visits are not this screen's business: it has not begun, or runs a command."""
        return not self._begun or self._words.command is not None

    def _line(self, text: str, colour: str = "") -> None:
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
        self._channel.write((text + ending).encode("utf-8", "replace"))

    # --- the end

    def quit(self) -> None:
        """The person wants to go: close the forwards, then the session with 0, so that ssh exits with 0 too."""
        self._client.leave("ended from its terminal")
        self.end(0)

    def end(self, status: int) -> None:
        """Close this screen with an exit status."""
        self._channel.exit(status)
