"""One SSH connection and what Ferry knows about it: who it is, what it holds, and the sessions that show it."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED
from asyncssh.misc import ChannelOpenError

from ferry import limits, tasks
from ferry.errors import Refusal
from ferry.names import Address, network_of, printable
from ferry.visits import Visit

from .direct import open_direct
from .holding import Asked, Holding
from .login import LoggedIn
from .refusals import RefusedForward
from .services import Services
from .session import Session
from .tunnel import SshTunnel
from .wire.channel import TunnelChannel
from .wire.connection import HardenedConnection
from .wire.requests import Answered, Opened
from .wire.session_channel import SessionChannel

if TYPE_CHECKING:
    from ferry.report import Report

    from .front import SshFront

_HOST: Final = re.compile(rb"[\w.:*\[\]-]*", re.ASCII)


class Client:
    """What belongs to one connection that has logged in. Fields are grouped by who sets them, and when."""

    def __init__(self, who: LoggedIn, connection: HardenedConnection, front: SshFront, services: Services) -> None:
        # set once
        self.id = who.id
        self.identity = who.identity
        self.user = who.user
        self.peer = who.peer
        self.origin = who.origin
        self.client_version = who.client_version
        self.began = who.began
        self.connection = connection
        self.front = front
        self._tunnels = front.tunnels
        # by the front, and again at each reload: what is judged is judged by the configuration that is in force then
        self.services = services
        # by forwards and sessions, for as long as it lasts
        self.forwards: dict[tuple[bytes, int], SshTunnel] = {}
        self.holding = Holding(connection.ping, session_first=who.client_version.startswith("OpenSSH_"))
        self.undecided = 0
        """Forwards that were asked for and are not decided, from the moment when their requests are read."""
        self.sessions: list[Session] = []
        self.journal: deque[SshTunnel | RefusedForward] = deque(maxlen=limits.OUTCOMES_REMEMBERED)
        self.asked = 0
        self.up = self.down = 0
        self.end_reason = ""
        self._settled: list[Callable[[], None]] = []
        self._target_noted = float("-inf")
        self.is_closed = False

    def comes_from(self, origin: str) -> bool:
        """Whether this connection, or another of the same identity, comes from `origin`."""
        return self.front.is_at(self.identity.id, origin)

    @property
    def network(self) -> str:
        """The IPv4 /24 or IPv6 /64 it comes from."""
        return network_of(self.peer.host)

    @property
    def report(self) -> Report:
        return self.services.report

    def call_soon(self, callback: Callable[..., None], *args: object) -> None:
        """Run `callback` in the loop's next turn."""
        asyncio.get_running_loop().call_soon(callback, *args)

    # --- forwards (called by the connection)

    def forward_read(self, host: bytes, port: int) -> Callable[[Answered], None]:
        """A `tcpip-forward` request was read. What is returned is called in its turn, and decides it."""
        self.asked += 1
        self.undecided += 1
        asked = self.holding.asked()

        def decide(answer: Answered) -> None:
            tasks.spawn(f"forward {self.id}", self._forward(asked, host, port, answer))

        return decide

    async def _forward(self, asked: Asked, host: bytes, port: int, answer: Answered) -> None:
        tunnel: SshTunnel | None = None
        try:
            tunnel = await self._decide(asked, host, port)
        finally:
            silence = answer(None if tunnel is None else tunnel.bind[1])
            if tunnel is None:
                self.holding.forget(asked)
            else:
                self.holding.granted(asked, tunnel, silence=silence)
                tunnel.on_close(partial(self.holding.forget, asked))
                self.journal.append(tunnel)
                for session in self.sessions:
                    session.forward_opened(tunnel)
            self.undecided -= 1
            if not self.undecided:
                settled, self._settled = self._settled, []
                for callback in settled:
                    callback()

    async def _decide(self, asked: Asked, host: bytes, port: int) -> SshTunnel | None:
        tunnel = await self._tunnels.open(self, host, port)
        if isinstance(tunnel, Refusal):
            self._refused(tunnel, asked=shown_request(host, port), kept=kept_request(host, port))
            return None
        if asked.refused is not None:  # its words came while it was being decided
            self._tunnels.close(tunnel, asked.refused, unwanted=True)
            return None
        return tunnel

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` once every forward that was asked for is decided."""
        if self.undecided:
            self._settled.append(callback)
        else:
            callback()

    def forward_cancelled(self, host: bytes, port: int) -> bool:
        """A `cancel-tcpip-forward`. False if there is no such forward."""
        tunnel = self.forwards.get((host, port))
        if tunnel is None:
            return False
        self._tunnels.close(tunnel, "cancelled by the client")
        self.tell(f"No longer forwarding {tunnel.address}")
        return True

    def odd_forward_read(self, asked: str, why: str, *, kept: str) -> Callable[[], bool]:
        """A forward that Ferry does not do was read. What is returned is called in its turn, and refuses it."""
        self.asked += 1

        def refuse() -> bool:
            self.form_refused(asked, why, kept=kept)
            return False

        return refuse

    def form_refused(self, asked: str, why: str, *, kept: str = "") -> None:
        """Something was asked for that Ferry does not do; `asked` is as it was typed, `kept` what is kept of it."""
        asked = printable(asked, 80)
        self._refused(Refusal(why, code="unknown_form"), asked=asked, kept=kept or asked)

    def _refused(self, refusal: Refusal, *, asked: str, kept: str) -> None:
        """`asked` is for whoever typed it, on this connection; `kept` for the log, and for sessions to come."""
        now = self.services.clock.now()
        self.report(
            "tunnel.refused",
            connection=self.id,
            identity=str(self.identity),
            asked=kept,
            code=refusal.code,
            detail=refusal.detail,
        )
        self.front.remember(self.identity.id, RefusedForward(kept, refusal.kept, refusal.code, now))
        told = RefusedForward(asked, refusal.public, refusal.code, now)
        self.journal.append(told)
        for session in self.sessions:
            session.forward_refused(told)
        self.connection.send_debug(f"refused {told.asked}: {told.why}")  # shown by ssh -v, also under -N

    def session_requested(self) -> Opened | None:
        """A session channel was asked for. None if there are too many."""
        if len(self.sessions) >= limits.SESSIONS_PER_CONNECTION:
            return None
        return SessionChannel(self.connection), Session(self, self.front.commands, self.front)

    def direct_requested(self, host: bytes, port: int) -> TunnelChannel:
        """A `direct-tcpip` open: to an alias, by its own identity, or back to a port of this connection. Raises
        ChannelOpenError."""
        opened = open_direct(self, host, port)
        if isinstance(opened, Refusal):
            self.report(
                "tunnel.refused",
                connection=self.id,
                identity=str(self.identity),
                asked=kept_request(host, port).replace("-R", "-J", 1),
                code=opened.code,
                detail=opened.detail,
            )
            raise ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, opened.public)
        return opened

    # --- sessions, as their `SessionOwner`

    @property
    def has_forwards(self) -> bool:
        """Whether it holds any now."""
        return bool(self.forwards)

    def session_opened(self, session: Session) -> int:
        """The number of a new session."""
        self.sessions.append(session)
        return self.holding.session_opened()

    def session_ended(self, session: Session, number: int, *, spoke: bool) -> None:
        """A session is gone; `spoke`: its client had said its words."""
        if session in self.sessions:
            self.sessions.remove(session)
        if not spoke:
            self.holding.session_gone(number)

    def words_said(self, number: int) -> None:
        """The words of a session are understood."""
        self.holding.session_said(number)

    def words_refused(self, number: int, why: str) -> int:
        """The words of a session are not understood (`why` is for the log): nothing that they shape may stay open. How
        many forwards that were."""
        shaped = self.holding.session_refused(number, why)
        for tunnel in [one for one in self.forwards.values() if any(one is asked.tunnel for asked in shaped)]:
            self._tunnels.close(tunnel, why, unwanted=True)
        return len(shaped)

    # --- what the owner is told

    def tell(self, line: str, **fields: object) -> None:
        """One line in every session."""
        for session in self.sessions:
            session.say(line, **fields)

    def visited(self, address: Address, visit: Visit) -> None:
        self.up += visit.up
        self.down += visit.down
        self.services.report("visit", visit=visit)
        if self.services.request_log:
            for session in self.sessions:
                session.visited(address, visit)

    def target_refused(self, address: Address, why: str) -> None:
        """The client could not reach its local target: its owner should know, but not once per visitor."""
        now = self.services.clock.monotonic()
        if now - self._target_noted >= limits.TARGET_NOTE_SECONDS:
            self._target_noted = now
            self.tell(f"{address}: {why}", event="target_refused")

    # --- the end

    def leave(self, reason: str) -> None:
        """Its owner ends it from the terminal: close the forwards, and the connection if ssh does not go by itself."""
        self.end_reason = reason
        self._tunnels.close_all_of(self, reason, cut=True)
        asyncio.get_running_loop().call_later(limits.LEAVE_SECONDS, self.close, reason)

    async def alive(self, seconds: float) -> bool:
        """Whether it shows within that time that it is there."""
        return await self.connection.alive_within(seconds)

    def end_if_unused(self, reason: str) -> None:
        """`close`, unless it has a forward, or one that is being decided."""
        if not self.forwards and not self.undecided:
            self.close(reason)

    def close(self, reason: str) -> None:
        """Disconnect, telling the client why.

        Stock ssh leaves at once when it reads the disconnect, and drops what its terminal has not been given yet: so
        where there is a session, the lines before are seen to have arrived first (its answer to a keepalive follows them).
        """
        self.end_reason = self.end_reason or reason
        if self.sessions:
            tasks.spawn(f"end {self.id}", self._close_after_sessions(reason))
        else:
            self.connection.end(reason)

    async def _close_after_sessions(self, reason: str) -> None:
        await self.connection.alive_within(limits.ALIVE_SECONDS)
        self.connection.end(reason)

    def closed(self, error: Exception | None) -> None:
        """The connection is gone: give everything back."""
        self.is_closed = True
        said = printable(str(error)) if error else "the client disconnected"
        reason = self.end_reason or said
        self._tunnels.close_all_of(self, reason, cut=False)
        now = self.services.clock.now()
        self.services.connections.connection_ended(self.id, reason, self.up, self.down, now)
        self.report(
            "connection.closed",
            connection=self.id,
            peer=str(self.peer),
            reason=printable(reason),
            seconds=now - self.began,
            up=self.up,
            down=self.down,
        )


def shown_request(host: bytes, port: int) -> str:
    """A forward request as its owner typed it, as far as that can be told: `-R blog:80`, `-R 80`."""
    text = printable(host.decode("utf-8", "backslashreplace"), 80)
    return f"-R {port}" if text in ("", "localhost") else f"-R {text}:{port}"


def kept_request(host: bytes, port: int) -> str:
    """`shown_request` for the log and for memory: what cannot be a hostname (`user:password@name`) is left out."""
    return shown_request(host if _HOST.fullmatch(host) else f"({len(host)} bytes)".encode(), port)
