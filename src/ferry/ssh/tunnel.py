"""One accepted remote forward of one client. It implements `registry.routes.Tunnel` over SSH channels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from asyncssh.misc import ChannelOpenError
from asyncssh.packet import String, UInt32

from ferry import limits
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardRequest, ListenPort, Opening
from ferry.kinds.rules import ForwardRules
from ferry.names import Address, Endpoint, TunnelId
from ferry.policy.allowance import Allowance
from ferry.policy.grants import Grant, Use
from ferry.policy.moved import moved
from ferry.policy.rules import Rule
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.registry.routes import PortListener
from ferry.report import Report
from ferry.streams import OpenFailure, Sink, Stream, Tap
from ferry.visits import Traffic, Visit

from .claims import Claim
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport, OwnedChannel, State
from .wire.originator import valid_originator

_TO_PORT: Final = b"forwarded-tcpip"
_TO_SOCKET: Final = b"forwarded-streamlocal@openssh.com"
_UNREACHED: Final = (
    "your local service cannot be reached: does it run, and on that port? If it listens on [::1] only, "
    "write localhost as its host"
)


class TunnelEvents(Protocol):
    """The client of a tunnel, which hears of its visits."""

    def visited(self, address: Address, visit: Visit, /) -> None:
        """A visit is over."""
        ...

    @property
    def watched(self) -> bool:
        """Whether a session may show visits."""
        ...

    def long_visit_began(self, address: Address, visit: Visit, /) -> None:
        """A visit has begun that may last."""
        ...

    def target_refused(self, address: Address, why: str, /) -> None:
        """A visitor could not reach the local service."""
        ...

    def tell(self, line: str, **fields: object) -> None:
        """Show the owner one line."""
        ...

    def comes_from(self, origin: str, /) -> bool:
        """Whether the tunnel's owner has a connection from `origin`."""
        ...


class TunnelLine(ChannelTransport, Protocol):
    """The connection that carries the streams."""

    def open_channel(self, channel: OwnedChannel, channel_type: bytes, /, *args: bytes) -> None:
        """Ask the client to open `channel`. Raises ChannelOpenError when the connection is gone or has too many."""
        ...

    @property
    def silent(self) -> bool:
        """Whether the client has left a keepalive unanswered, so that visitors need not wait for it."""
        ...

    @property
    def silent_for(self) -> float:
        """Seconds since the client's last packet, once it leaves a keepalive unanswered; 0 before."""
        ...

    def answered_in(self, seconds: float, /) -> None:
        """The client has answered an open after `seconds`."""
        ...

    def call_soon(self, callback: Callable[..., None], /, *args: object) -> None:
        """Call back in the loop's next turn."""
        ...


class TunnelReader(Protocol):
    """A session, for tunnels."""

    def forward_opened(self, tunnel: SshTunnel, /) -> None:
        """Show a new tunnel."""
        ...


@dataclass(frozen=True, slots=True)
class GrantedForward:
    """A granted request for a forward."""

    id: TunnelId
    request: ForwardRequest
    bind: tuple[bytes, int]
    """The client's exact host and port, which `forwarded-tcpip` must repeat. In the place of port 0 it has the port that the
    gateway chose."""
    created: float
    """Seconds since the epoch."""
    taken_from: str = ""
    """For the owner: the connection of the same identity that had the address before."""
    rule: Rule | None = None
    """The rule of the operator's policy that has allowed it."""


class SshTunnel:
    """A forward in service. Other code writes only `tap`, and counts in `traffic`."""

    __slots__ = (
        "_clock",
        "_events",
        "_held",
        "_idle",
        "_line",
        "_listener",
        "_on_close",
        "_opened",
        "_opening",
        "_report",
        "_streams",
        "address",
        "claim",
        "closed",
        "forward",
        "host_header",
        "id",
        "kind",
        "owner",
        "owner_name",
        "shown_address",
        "tap",
        "traffic",
        "visited",
    )

    def __init__(
        self,
        forward: GrantedForward,
        claim: Claim,
        events: TunnelEvents,
        line: TunnelLine,
        *,
        clock: Clock,
        report: Report,
    ) -> None:
        address = claim.address
        # what edges read
        self.id = forward.id
        self.address = address
        self.owner = claim.identity.id
        self.owner_name = claim.identity.name
        self.kind = address.kind.value
        self.shown_address = str(address)
        self.host_header = b""
        self.traffic = Traffic()
        self.tap: Tap | None = None
        self.visited: Callable[[Visit], None] = partial(events.visited, address)
        # its own
        self.forward = forward
        self.claim = claim
        self.closed = False
        self._events = events
        self._line = line
        self._clock = clock
        self._report = report
        self._opened: Opening | None = None
        """The port or the socket that was opened for it alone."""
        self._listener: PortListener | None = None
        self._held: dict[OwnedChannel, Endpoint] | None = {}
        """Channels of visitors that wait for the owner's words, with their originators; None once the tunnel is open."""
        self._streams: set[OwnedChannel] = set()
        self._opening: dict[OwnedChannel, float] = {}
        """Channels whose open the client has not answered, with their deadlines (monotonic), oldest first."""
        self._idle: asyncio.Event | None = None
        self._on_close: list[Callable[[], None]] = []

    # --- Tunnel (`visited` too, which is the client's own)

    @property
    def holder(self) -> str:
        return str(self.claim.identity)

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Stream:
        grant.require(self.address, self.owner, Use.VISIT)
        channel = TunnelChannel(self._line, sink, self)
        if self.closed:
            self._line.call_soon(channel.refuse, OpenFailure.GONE)
        elif self._held is not None:
            self._held[channel] = originator
        elif self._line.silent:
            self._line.call_soon(channel.refuse, OpenFailure.SILENT)
        elif not self._open(channel, originator):
            self._line.call_soon(channel.refuse, OpenFailure.LIMIT)  # as every failure: after `dial` has returned
        return channel

    @property
    def watched(self) -> bool:
        return self._events.watched

    def long_visit_began(self, visit: Visit) -> None:
        self._events.long_visit_began(self.address, visit)

    def comes_from(self, origin: str) -> bool:
        return self._events.comes_from(origin)

    def tell(self, line: str, **fields: object) -> None:
        self._events.tell(line, **fields)

    # --- notices for its owner

    def show_in(self, session: TunnelReader) -> None:
        """Show it in a session that begins later, if it has not closed."""
        if not self.closed:
            session.forward_opened(self)

    @property
    def tls_upstream(self) -> bool:
        """The local service speaks TLS."""
        return self.forward.request.tls_upstream

    @property
    def bind(self) -> tuple[bytes, int]:
        """The host and the port of the request."""
        return self.forward.bind

    @property
    def taken_from(self) -> str:
        """As in its forward."""
        return self.forward.taken_from

    @property
    def bound(self) -> Sequence[Endpoint]:
        """The addresses that its port listens on; none if it has no port of its own."""
        return self._listener.endpoints if self._listener is not None else ()

    @property
    def instead(self) -> str:
        """For people: why its port listens on loopback addresses only, although its owner asked for another; empty if not."""
        return "" if self.port is None else self.port.kept_local(self.forward.request.host)

    def moved(self, rules: ForwardRules, may: Allowance) -> Refusal | None:
        """The refusal of a port or a socket that the operator's settings would not open there now."""
        return None if self._opened is None else moved(self._opened, self.address, self.forward.request, rules, may)

    @property
    def port(self) -> ListenPort | None:
        """Where it listens, if it has a port of its own."""
        return self._opened if isinstance(self._opened, ListenPort) else None

    @property
    def listens_at(self) -> dict[str, object]:
        """For the log: where its port listens, and why not where its owner asked."""
        if self.port is None:
            return {}
        bound = " ".join(endpoint.host for endpoint in self.bound)
        return {"bound": bound, "instead": self.instead} if self.instead else {"bound": bound}

    @property
    def derived(self) -> bool:
        """The gateway chose its address."""
        return self.claim.derived

    @property
    def anonymous(self) -> bool:
        """Its owner came without a key."""
        return self.claim.identity.anonymous

    # --- life

    def carried(self) -> dict[str, object]:
        """For a report: for how long it has had its address, and the bytes of its visitors so far."""
        seconds = round(self._clock.monotonic() - self.claim.since, 3)
        return {"seconds": seconds, "up": self.traffic.up, "down": self.traffic.down}

    @property
    def silent_for(self) -> float:
        """Seconds since its client's last sign of life, once that leaves a keepalive unanswered; 0 before."""
        return self._line.silent_for

    def listening(self, opening: Opening, listener: PortListener) -> None:
        """Take note of the port or the socket that was opened for it."""
        self._opened = opening
        self._listener = listener

    def stop_listening(self, *, cut: bool) -> None:
        """Take no new visitors from its port, if it has one. `cut` also ends the present ones."""
        if self._listener is not None:
            self._listener.close(cut=cut)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the tunnel closes; at once if it has closed."""
        if self.closed:
            callback()
        else:
            self._on_close.append(callback)

    def send_host(self, host: str) -> None:
        """Send this Host to the local service, in place of the visitor's."""
        self.host_header = host.encode("ascii")

    def let_through(self) -> None:
        """Open the tunnel to visitors: those who waited, and all who come."""
        held, self._held = self._held or {}, None
        for channel, originator in held.items():
            if channel.state is not State.NEW:
                continue  # an end of one of the others has ended it
            if self.closed:
                channel.refuse(OpenFailure.GONE)
            elif not self._open(channel, originator):
                channel.refuse(OpenFailure.LIMIT)

    def close(self) -> None:
        """Stop taking visitors. Streams that are open go on until they end or `cut` is called."""
        self.closed = True
        held, self._held = self._held or {}, None
        for channel in held:
            channel.refuse(OpenFailure.GONE)
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # each is for a part of its own
                self._line.sink_failed(error)

    @property
    def streams(self) -> int:
        """Streams that are open or opening."""
        return len(self._streams)

    @property
    def was_visited(self) -> bool:
        """It has had a visitor, who may be there still: a visit is counted when it ends."""
        traffic = self.traffic
        return bool(traffic.visits or traffic.up or traffic.down or self._streams)

    @property
    def serving(self) -> bool:
        """Streams are open, or visitors of its port have not taken all that came for them. Of HTTP the edge knows: its
        idle streams are open too."""
        if kind_of(self.address.kind).holds_idle_streams:
            return False
        return bool(self._streams or (self._listener and len(self._listener)))

    async def wait_served(self) -> None:
        """Return when it is not `serving` any more."""
        while self.serving:
            await self._wait_idle()
            if self._listener is not None:
                await self._listener.wait_empty()

    async def wait_idle(self, seconds: float) -> None:
        """Return when no stream is open any more, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wait_idle()

    async def _wait_idle(self) -> None:
        if self._streams:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    def cut(self) -> None:
        """End the streams that are still open; their visitors see a broken connection, never a clean end."""
        for channel in list(self._streams):
            channel.cut(ConnectionResetError("the tunnel was closed"))

    def _open(self, channel: OwnedChannel, originator: Endpoint) -> bool:
        """Ask for a `forwarded-tcpip` channel (RFC 4254 §7.2), or for one to a socket (PROTOCOL of OpenSSH, §2.4). False when
        the connection has too many, or is gone."""
        host, port = self.forward.bind
        kind = _TO_SOCKET
        more: tuple[bytes, ...] = (String(b""),)
        if port != SOCKET_PORT:
            originator = valid_originator(originator)
            kind, more = _TO_PORT, (UInt32(port), String(originator.host), UInt32(originator.port))
        try:
            self._line.open_channel(channel, kind, String(host), *more)
        except ChannelOpenError:
            self._report("channel.failed", tunnel=self.id, failure=OpenFailure.LIMIT.value)
            return False
        self._streams.add(channel)
        self._opening[channel] = self._clock.monotonic() + limits.STREAM_OPEN_SECONDS
        return True

    # --- ChannelOwner

    def channel_answered(self, channel: OwnedChannel, opened: bool) -> None:
        self._answered(channel)
        if opened:
            self._report("channel.opened", tunnel=self.id)
        else:
            self._report("channel.failed", tunnel=self.id, failure=OpenFailure.REFUSED.value)
            self._events.target_refused(self.address, _UNREACHED)

    def channel_unfit(self, channel: OwnedChannel, packet_size: int) -> None:
        self._answered(channel)
        self._report("channel.failed", tunnel=self.id, failure=OpenFailure.REFUSED.value)
        self._events.target_refused(
            self.address,
            f"your SSH client takes packets of {packet_size} bytes only; {limits.LEAST_PACKET_BYTES} are needed at least",
        )

    def _answered(self, channel: OwnedChannel) -> None:
        if (deadline := self._opening.pop(channel, None)) is not None:
            asked = deadline - limits.STREAM_OPEN_SECONDS
            self._line.answered_in(self._clock.monotonic() - asked)

    def channel_gone(self, channel: OwnedChannel) -> None:
        if self._held is not None:
            self._held.pop(channel, None)
        self._opening.pop(channel, None)
        self._streams.discard(channel)
        if self._idle is not None and not self._streams:
            self._idle.set()
            self._idle = None

    def give_up_openings(self, now: float) -> None:
        """Refuse streams whose open was not answered in STREAM_OPEN_SECONDS (monotonic `now`), and all of a silent
        client's."""
        silent = self._line.silent
        failure = OpenFailure.SILENT if silent else OpenFailure.TIMEOUT
        while self._opening:
            channel, deadline = next(iter(self._opening.items()))
            if deadline > now and not silent:
                return
            del self._opening[channel]
            self._report("channel.failed", tunnel=self.id, failure=failure.value)
            channel.refuse(failure)
