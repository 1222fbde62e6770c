"""What a client sees in its terminal: a `Screen` is one session channel (RFC 4254 §6).

It shows forwards as they come and go, a line per request, and answers a few commands. With a terminal there is colour
and keys; without one, plain text. `--output json` makes every line one JSON object. A screen whose reader has stopped
drops lines past SESSION_BACKLOG_BYTES and says how many: it never holds up anything else.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import asyncssh
from asyncssh.channel import SSHServerChannel
from asyncssh.packet import SSHPacket

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import typed_name
from ferry.protocol.words import Words, parse_words
from ferry.registry.routes import Visit

from . import notices

if TYPE_CHECKING:
    from .client import Client, Refusal
    from .hardening import HardenedConnection
    from .tunnel import SshTunnel

_DIM, _GREEN, _RED, _RESET = "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_KEYS: Final = "keys: q or Ctrl-C ends, ? shows this"


class ScreenChannel(SSHServerChannel[bytes]):
    """The channel of a screen. What a shell would offer is refused with one sentence, and the session goes on."""

    def __init__(self, connection: HardenedConnection, screen: Screen) -> None:
        loop = asyncio.get_running_loop()
        window, packet = limits.SCREEN_WINDOW_BYTES, limits.CHANNEL_PACKET_BYTES
        super().__init__(connection, loop, True, False, False, 0, 0, None, "strict", window, packet)
        self.screen = screen

    def _process_x11_req_request(self, packet: SSHPacket) -> bool:
        del packet
        self.screen.refuse_form("-X", "there are no windows here: Ferry forwards TCP only")
        return False

    def _process_auth_agent_req_at_openssh_dot_com_request(  # type: ignore[override]  # asyncssh answers later, we now
        self, packet: SSHPacket
    ) -> bool:
        del packet
        self.screen.refuse_form("-A", "your agent is not needed here, and is safer at home: leave -A out")
        return False


class Screen(asyncssh.SSHServerSession[bytes]):
    """One session channel of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._channel: Any = None
        self._terminal = False
        self._dropped = 0
        self._begun = self._ended = False
        self._ca_noted = False
        self.words: Words | None = None
        """None until the client has said what it wants (`shell` or `exec`)."""
        client.screens.append(self)

    # --- asyncssh's callbacks

    def connection_made(self, chan: Any) -> None:
        self._channel = chan

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._ended = True
        if self in self._client.screens:
            self._client.screens.remove(self)
        if self.words is None:
            self._client.words_heard()

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        del term_type, term_size, term_modes
        self._terminal = True
        return True

    def shell_requested(self) -> bool:
        return self._started("")

    def exec_requested(self, command: str) -> bool:
        return self._started(command)

    def subsystem_requested(self, subsystem: str) -> bool:
        why = "there are no files here: sftp and scp go to a machine behind an alias"
        self._client.refused_form(subsystem, why, kept=typed_name(subsystem))
        return False

    def refuse_form(self, asked: str, why: str) -> None:
        """Something was asked for on this channel that Ferry does not do."""
        self._client.refused_form(asked, why)

    def _started(self, command: str) -> bool:
        try:
            words = parse_words(command, self._client.services.urls.gateway)
        except InvalidInput as error:
            self.words = Words()
            why = str(error)
            self._client.words_refused(error.detail)
            self._client.call_soon(self._refuse_words, why)
            return True
        self.words = words
        self._client.words_heard()
        self._client.when_settled(lambda: self._client.call_soon(self._begin))
        return True

    def data_received(self, data: bytes, datatype: Any) -> None:
        del datatype
        if not self._terminal:
            return  # what a pipe sends is of no use, and its end is no reason to go
        for key in data:
            if key in b"qQ\x03\x04":
                self.quit()
                return
            if key in b"?hH":
                self.say(_KEYS)

    def eof_received(self) -> bool:
        """End of file on stdin never ends a session that holds forwards: keep our half open."""
        return True

    def break_received(self, msec: int) -> bool:
        del msec
        self.quit()
        return True

    # --- what it shows

    def _refuse_words(self, why: str) -> None:
        sentence = why if why.endswith("?") else f"{why}."
        held = " Its forwards are closed." if self._client.asked else ""
        self.say(f"{sentence}{held}", event="error", error=why)
        self.end(1)

    def _begin(self) -> None:
        """Everything that was asked before this screen has been decided: show it, and stay or go."""
        if self._ended or self.words is None:
            return
        self._begun = True
        client, words = self._client, self.words
        if words.command is not None:
            client.run_command(self, words)
            return
        for entry in list(client.journal):
            self._show(entry)
        if client.forwards:
            if self._terminal and not words.json:
                self.say(_KEYS)
        elif client.asked:
            self.end(1)
        else:
            client.run_command(self, words)

    def _show(self, entry: SshTunnel | Refusal | str) -> None:
        from .tunnel import SshTunnel

        if isinstance(entry, str):
            self.say(entry)
        elif isinstance(entry, SshTunnel):
            if not entry.closed:
                self.forward_opened(entry)
        else:
            self.forward_refused(entry)

    def forward_opened(self, tunnel: SshTunnel) -> None:
        """A forward was granted."""
        if self._silent:
            return
        services = self._client.services
        if self.words is not None and self.words.json:
            self._line(json.dumps(notices.forward_json(tunnel, services)))
            return
        for line in notices.forward_lines(tunnel, services):
            if line == notices.CA_NOTE:  # once is enough
                if self._ca_noted:
                    continue
                self._ca_noted = True
            self._line(line, _DIM if line.startswith(" ") else _GREEN)

    def forward_refused(self, refusal: Refusal) -> None:
        """A forward was refused."""
        if self._silent:
            return
        if self.words is not None and self.words.json:
            fields = {"event": "forward", "status": "refused", "asked": refusal.asked}
            self._line(json.dumps(fields | {"code": refusal.code, "message": refusal.why}))
            return
        self._line(notices.refusal_line(refusal), _RED)

    def visited(self, tunnel: SshTunnel, visit: Visit) -> None:
        """A visitor was served. Where the socket is full nothing is added: asyncssh would keep it without bound."""
        if self._silent:
            return
        if not self._client.connection.may_send:
            self._dropped += 1
            return
        if self.words is not None and self.words.json:
            fields = {
                "event": "visit",
                "address": notices.address_text(tunnel.address, self._client.services.urls),
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
        if self.words is not None and self.words.json:
            line = json.dumps({"event": "message", "message": line} | fields)
        self._line(line)

    def show(self, line: str, fields: dict[str, object]) -> None:
        """One line of a command's answer: text, or `fields` as JSON."""
        self._line(json.dumps(fields) if self.words is not None and self.words.json else line)

    @property
    def _silent(self) -> bool:
        """Whether forwards and visits are not this screen's business: it has not begun, or runs a command."""
        return not self._begun or self.words is None or self.words.command is not None

    def _line(self, text: str, colour: str = "") -> None:
        if self._ended or self._channel is None:
            return
        if self._channel.get_write_buffer_size() > limits.SESSION_BACKLOG_BYTES:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.say(f"({dropped} lines were dropped: your terminal did not read them)", event="dropped", lines=dropped)
        if colour and self._terminal and not (self.words is not None and self.words.json):
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
        if self._ended or self._channel is None:
            return
        self._ended = True
        self._channel.exit(status)

    def gone(self) -> None:
        """The connection is closed."""
        self._ended = True
