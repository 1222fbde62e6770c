"""One SSH connection that has logged in: its identity, its tunnels and its sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from asyncssh.constants import OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError

from ferry import limits, tasks
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.limiters.rate import PerSecond
from ferry.names import Address, IdentityId, network_of, printable
from ferry.policy.allowance import Allowance
from ferry.policy.keys import KeyLine
from ferry.policy.several_keys import entry_refusal
from ferry.policy.sshd import SshdOptions, SshdRules, Who
from ferry.protocol.typed_forward import TypedForward, kept_request, kept_target, shown_request
from ferry.report import Report, by_rule
from ferry.visits import Visit

from .commands import Commands
from .direct import DirectChannels
from .direct_open import DirectOpen, HostAt
from .explaining import Explained, Explainer
from .forward_requests import ForwardRequests
from .holding import Holding
from .logged_in import LoggedIn
from .notices import NoticesInForce
from .open_codes import open_failure
from .reasons import Reasons
from .refusals import RefusedForward, RefusedForwards, RefusedOpens
from .session import Session
from .sessions import Sessions
from .splice import NoLongerAllowed
from .tunnel import SshTunnel
from .tunnels import Tunnels
from .wire.channel import TunnelChannel
from .wire.connection import HardenedConnection
from .wire.requests import Answered, Opened
from .wire.session_channel import SessionChannel

_NO_SESSIONS: Final = "the operator lets you open no sessions (MaxSessions 0): forwards work with ssh -N"


class ShownInForce(NoticesInForce, Protocol):
    """The settings of sessions that are in force now."""

    @property
    def request_log(self) -> bool:
        """Whether sessions show a line per visit."""
        ...

    @property
    def end_refused(self) -> bool:
        """Whether a connection ends if all its forwards are refused and it opens no session."""
        ...

    @property
    def sshd(self) -> SshdRules:
        """The operator's rules with sshd's names."""
        ...


class ClientServer(Protocol):
    """The server, as far as its clients use it."""

    @property
    def clock(self) -> Clock: ...
    @property
    def report(self) -> Report: ...
    @property
    def settings(self) -> ShownInForce: ...
    @property
    def tunnels(self) -> Tunnels: ...
    @property
    def direct(self) -> DirectChannels: ...
    @property
    def explainer(self) -> Explainer: ...
    @property
    def commands(self) -> Commands: ...
    @property
    def refusals(self) -> RefusedForwards: ...

    def is_at(self, identity: IdentityId, origin: str, /) -> bool:
        """Whether one of the connections of an identity comes from `origin`."""
        ...

    def host_told(self, client: Client, host: str, /) -> None:
        """A session of `client` says how its machine is called."""
        ...


class Client:
    """One connection that has logged in.

    It answers requests (`ConnectionHandler`, `RequestingClient`), has tunnels (`TunnelClient`) and sessions
    (`SessionClient`).
    """

    __slots__ = (
        "_decided",
        "_left",
        "_refused_opens",
        "_report",
        "_server",
        "_settings",
        "_target_noted",
        "_target_refused",
        "_tunnels",
        "_typed",
        "_who",
        "connection",
        "direct",
        "down",
        "end_reason",
        "id",
        "identity",
        "is_closed",
        "key_line",
        "origin",
        "peer",
        "requests",
        "sessions",
        "up",
    )

    def __init__(self, who: LoggedIn, connection: HardenedConnection, server: ClientServer) -> None:
        self.id = who.id
        self.identity = who.identity
        self.key_line = who.key_line
        """The line of the key files by which it is here. Its options count for all that it asks for."""
        self.origin = who.origin
        self.peer = who.peer
        self._who = who
        self._decided: tuple[SshdRules, SshdOptions] | None = None
        """The operator's rules with sshd's names, and what they say about this client."""
        self.connection = connection
        self._server = server
        self._report = server.report
        self._settings = server.settings
        self._tunnels = server.tunnels
        self.sessions = Sessions()
        holding = Holding(connection.ping, session_first=who.client_version.startswith("OpenSSH_"))
        reasons = Reasons(
            connection,
            who.client_version,
            end=self._end_with_reasons,
            may_end=lambda: self._settings.end_refused,
            all_decided=lambda: self.requests.all_decided,
            watched=lambda: bool(self.sessions),
            released=self.sessions.refresh,
        )
        self.requests: ForwardRequests = ForwardRequests(self, server.tunnels, holding, reasons)
        self.up = self.down = 0
        self.end_reason = ""
        self.is_closed = False
        self._left = ""
        """The reason, if the person has quit the session of the command that made the connection, while others were
        open."""
        self._target_refused = float("-inf")
        """When a visitor could not reach a local service, for the last time; `_target_noted`: when that was told."""
        self._target_noted = float("-inf")
        self._refused_opens = RefusedOpens()
        self.direct = DirectOpen()
        self._typed = PerSecond()

    @property
    def user(self) -> str:
        """The login name."""
        return self._who.user

    @property
    def network(self) -> str:
        """The IPv4 /24 or IPv6 /64 of its peer."""
        return network_of(self.peer.host)

    @property
    def sshd(self) -> SshdOptions:
        """The operator's settings with sshd's names that count for it now."""
        rules = self._settings.sshd
        if self._decided is None or self._decided[0] is not rules:
            who = Who(self.user, self.identity, self.peer.host, self._who.local)
            self._decided = rules, rules.of(who)
        return self._decided[1]

    @property
    def may(self) -> Allowance:
        """What it may ask for now."""
        return Allowance(self.key_line, self.sshd)

    @property
    def host(self) -> str:
        """The name of its host, or its address if nobody has looked it up."""
        return self._who.host

    @property
    def client_version(self) -> str:
        """What its program calls itself."""
        return self._who.client_version

    @property
    def began(self) -> float:
        """When it was accepted: seconds since the epoch."""
        return self._who.began

    # --- requests of its connection

    def forward_read(self, host: bytes, port: int) -> Callable[[Answered], None]:
        """Note a `tcpip-forward` request that was read. The caller calls the result in its turn, to decide it."""
        return self.requests.read(host, port)

    def forward_cancelled(self, host: bytes, port: int) -> bool:
        """A `cancel-tcpip-forward`. False if there is no such forward."""
        tunnel = self.forwards.get((host, port))
        if tunnel is None:
            return False
        self._tunnels.close(tunnel, "cancelled by the client")
        self.tell(f"No longer forwarding {tunnel.address}")
        return True

    def form_refused(self, asked: str, why: str, *, kept: str = "") -> None:
        """Refuse a feature that Ferry lacks. `asked` is the text as typed; the log and `ssh gw` show `kept`."""
        asked = printable(asked, 80)
        self._refused("request.refused", Refusal(why, code="unknown_form"), asked=asked, kept=kept or asked)

    def session_requested(self) -> Opened:
        """The channel and the session for a request. Raises ChannelOpenError if there are too many."""
        most = limits.SESSIONS_PER_CONNECTION if self.sshd.max_sessions is None else self.sshd.max_sessions
        if len(self.sessions) >= most:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, "too many sessions" if most else _NO_SESSIONS)
        return SessionChannel(self.connection), Session(self, self._server.commands, self._settings)

    def direct_requested(self, host: bytes, port: int) -> TunnelChannel:
        """The channel for a `direct-tcpip` open. Raises ChannelOpenError."""
        opened = self._server.direct.open(self, host, port)
        if isinstance(opened, Refusal):
            self.open_denied(host, port, opened)
            raise open_failure(opened)
        self.requests.channel_opened()
        return opened

    def open_denied(self, host: bytes, port: int, refusal: Refusal) -> None:
        """Tell the log and the person that a `direct-tcpip` open was denied."""
        self._report_refused("reach.refused", refusal, kept_target(host, port))
        self.open_refused(host, port, refusal.public)

    def open_refused(self, host: bytes, port: int, why: str) -> None:
        """Tell the person that a `direct-tcpip` open was refused: in the open sessions, once for each target."""
        if self.sessions and (line := self._refused_opens.notice(host, port, why)) is not None:
            self.sessions.complain(line)

    # --- forwards, as the client that requests them

    def forward_granted(self, tunnel: SshTunnel) -> None:
        """The gateway has granted a forward, and answered the request."""
        if not self.sessions:
            where = kind_of(tunnel.address.kind).for_people(tunnel.address, self._settings.notices.urls)
            self.connection.send_debug(f"granted {where}")  # shown by ssh -v, also under -N
        self.sessions.forward_opened(tunnel)

    def forward_refused(self, refusal: Refusal, host: bytes, port: int) -> RefusedForward:
        """The gateway refuses a forward; the answer follows. Returns the refusal as its sessions show it."""
        asked, kept = shown_request(host, port), kept_request(host, port)
        return self._refused("tunnel.refused", refusal, asked=asked, kept=kept)

    def _refused(self, event: str, refusal: Refusal, *, asked: str, kept: str) -> RefusedForward:
        """Report a refusal as `event`. Its sessions show the request as `asked`; the log and `ssh gw` show `kept`."""
        now = self._server.clock.now()
        self._report_refused(event, refusal, kept)
        self._server.refusals.remember(self.identity.id, RefusedForward(kept, refusal.kept, refusal.code, now))
        told = RefusedForward(asked, refusal.public, refusal.code, now, refusal.retry_after)
        self.requests.refused(told)
        self.sessions.forward_refused(told)
        if self.sessions:
            self.refusals_seen()
        self.connection.send_debug(f"refused {told.asked}: {told.why}")  # shown by ssh -v, also under -N
        return told

    def host_told(self, host: str) -> None:
        """Remember how its machine is called, for the operator."""
        self._server.host_told(self, host)

    def refusals_seen(self) -> None:
        """The person has been shown the refusals so far."""
        self._server.refusals.seen(self.identity.id)

    def _end_with_reasons(self, reasons: str) -> None:
        """All forwards are refused, and there is no session: disconnect with the reasons, which the client prints."""
        self.refusals_seen()
        self.close(reasons)

    def _report_refused(self, event: str, refusal: Refusal, kept: str) -> None:
        self._report(
            event,
            connection=self.id,
            identity=str(self.identity),
            asked=kept,
            code=refusal.code,
            detail=refusal.detail,
            **by_rule(refusal.rule),
        )

    def use_key_line(self, line: KeyLine) -> None:
        """The key's line has other options now."""
        self.key_line = line
        self._close_forbidden()

    def use_settings(self) -> None:
        """The operator's settings or policy have changed, or a rule has ended."""
        self.keep_alive()
        keys = 0 if self.identity.anonymous else 1 + len(self.key_line.beside)
        if (why := entry_refusal(self.sshd, keys, self._who.algorithms)) is not None:
            self.close(why)
        else:
            self._close_forbidden()

    def keep_alive(self) -> None:
        """Ask the client for signs of life as the operator's settings for it say."""
        self.connection.keep_alive(self.sshd.client_alive_interval, self.sshd.client_alive_count_max)

    def _close_forbidden(self) -> None:
        """Close the forwards and channels that are not allowed any more."""
        self._tunnels.close_forbidden(self)
        self._cut_refused()

    def _cut_refused(self) -> None:
        """Cut the channels through the gateway that are not allowed any more."""
        for channel, reached in list(self.direct.items()):
            if (refusal := self._server.direct.refusal_now(self, reached)) is not None:
                asked = isinstance(reached.target, HostAt) and reached.target.found is None
                if asked:  # no other record is made of what was not there yet
                    self.open_denied(reached.host, reached.port, refusal)
                else:
                    self.open_refused(reached.host, reached.port, refusal.public)
                channel.cut(NoLongerAllowed())

    async def explain(self, forward: TypedForward) -> Explained:
        """What a forward would get. It claims, opens and looks up nothing. Raises StoreUnavailable."""
        if forward.listens:
            return await self._server.explainer.listening(self, forward.host, forward.port)
        return self._server.direct.explain(self, forward.host, forward.port)

    # --- tunnels, as their client

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], SshTunnel]:
        """Its tunnels, by host and port of the request."""
        return self._tunnels.of_connection(self.id)

    def comes_from(self, origin: str) -> bool:
        """Whether this connection, or another of the same identity, comes from `origin`."""
        return self._server.is_at(self.identity.id, origin)

    def visited(self, address: Address, visit: Visit) -> None:
        """A visit is over."""
        self.up += visit.up
        self.down += visit.down
        self._report("visit", visit=visit)
        if self.sessions:
            self.sessions.visited(address, visit, shown=self._settings.request_log)

    @property
    def watched(self) -> bool:
        """Whether a session may show visits."""
        return bool(self.sessions)

    def long_visit_began(self, address: Address, visit: Visit) -> None:
        """A WebSocket or an event stream has opened."""
        self.sessions.long_visit_began(address, visit, shown=self._settings.request_log)

    def target_refused(self, address: Address, why: str) -> None:
        """Tell the person that the local service cannot be reached, at most once in TARGET_NOTE_SECONDS."""
        now = self._target_refused = self._server.clock.monotonic()
        if now - self._target_noted >= limits.TARGET_NOTE_SECONDS:
            self._target_noted = now
            self.tell(f"{address}: {why}", event="target_refused")

    async def alive(self, seconds: float) -> bool:
        """Whether the client gives a sign of life within `seconds`."""
        return await self.connection.alive_within(seconds)

    def tell(self, line: str, **fields: object) -> None:
        """Show one line in every session."""
        self.sessions.say(line, **fields)

    # --- sessions, as their client

    def may_type(self) -> bool:
        """Count a key. False past KEYS_PER_SECOND: ignore it."""
        return self._typed.allows(self._server.clock.monotonic(), limits.KEYS_PER_SECOND)

    @property
    def visitors(self) -> int:
        """Requests and connections in progress, over all its tunnels."""
        return sum(map(self._tunnels.visitors_of, self.forwards.values()))

    @property
    def ssh_may_write(self) -> bool:
        """Ssh is about to write a line of its own: when it gets the held answer to a refused forward, or when it cannot
        reach a local service, which it could not lately. Its sessions are refreshed when that is over."""
        lately = self._server.clock.monotonic() - self._target_refused < limits.TARGET_QUIET_SECONDS
        return lately or self.requests.answers_held

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._server.clock.now()

    def session_opened(self, session: Session) -> None:
        """A session has opened."""
        self.sessions.opened(session)

    def session_closed(self, session: Session) -> None:
        """A session has closed."""
        self.sessions.closed(session)
        if self._left and not self.sessions.besides(session):
            self._leave(self._left)

    # --- the end

    def leave(self, session: Session, reason: str) -> bool:
        """The person quits a session in a terminal. If its command has made the connection, close the forwards, and after
        LEAVE_SECONDS the connection: now, or with the last of the other open sessions. Returns whether it is now."""
        if not session.made_connection:
            return False
        if self.sessions.besides(session):
            self._left = reason
            return False
        self._leave(reason)
        return True

    def _leave(self, reason: str) -> None:
        self.end_reason = reason
        self._tunnels.close_all_of(self, reason, cut=True)
        asyncio.get_running_loop().call_later(limits.LEAVE_SECONDS, self.close, reason)

    def end_if_unused(self, reason: str) -> None:
        """`close`, unless the client has a forward, a stream through the gateway or an undecided request for a forward."""
        if not self.forwards and not self.direct.in_use and self.requests.all_decided:
            self.close(reason)

    def close(self, reason: str) -> None:
        """Disconnect, and tell the client why.

        Stock ssh exits as soon as it reads the disconnect, and drops lines that it has not written to its terminal. So
        with a session, send a keepalive after these lines and wait for its answer first.
        """
        self.end_reason = self.end_reason or reason
        if self.sessions:
            self.sessions.freeze()
            tasks.spawn(f"end {self.id}", self._close_after_sessions(reason))
        else:
            self.connection.end(reason)

    async def _close_after_sessions(self, reason: str) -> None:
        await self.connection.alive_within(limits.ALIVE_SECONDS)
        self.connection.end(reason)

    def abort(self, reason: str) -> None:
        """End the connection at once. `reason` is for the log only."""
        self.end_reason = reason
        self.connection.abort()

    def closed(self, error: Exception | None) -> None:
        """The connection has closed: close its tunnels, and set `end_reason`."""
        self.is_closed = True
        self.requests.close()
        self.end_reason = self.end_reason or (printable(str(error)) if error else "the client disconnected")
        self._tunnels.close_all_of(self, self.end_reason, cut=False)
