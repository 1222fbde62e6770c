"""One accepted remote forward of one client: what `registry.routes.Tunnel` promises, over SSH channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncssh.misc import ChannelOpenError
from asyncssh.packet import String, UInt32

from ferry import limits
from ferry.kinds import kind_of
from ferry.names import Address, Endpoint, TunnelId
from ferry.policy.grants import Grant, Use
from ferry.streams import OpenFailure, Sink, Stream, Tap
from ferry.visits import Traffic, Visit

from .wire.channel import TunnelChannel
from .wire.channel_state import OwnedChannel, State
from .wire.originator import sayable

if TYPE_CHECKING:
    from .client import Client
    from .services import PortListener


class SshTunnel:
    """A forward that was granted. `bind` is the client's exact request, which `forwarded-tcpip` must repeat."""

    def __init__(
        self,
        client: Client,
        tunnel_id: TunnelId,
        address: Address,
        generation: int,
        bind: tuple[bytes, int],
        *,
        created: float,
        tls_upstream: bool,
        derived: bool,
        asked_wide: bool,
    ) -> None:
        self.client = client
        self.id = tunnel_id
        self.address = address
        self.kind = address.kind.value
        self.shown_address = str(address)
        self.owner = client.identity.id
        self.generation = generation
        self.bind = bind
        self.created = created
        self.tls_upstream = tls_upstream
        self.derived = derived
        """Of our choice: no claim of the same identity takes it over while this one is alive."""
        self.asked_wide = asked_wide
        """A listen address beyond loopback was written in the request."""
        self.traffic = Traffic()
        self.tap: Tap | None = None
        self.listener: PortListener | None = None
        self.trial_until: float | None = None
        """When its name is to be reserved (monotonic), on a gateway where names must first be used."""
        self.new_name = False
        """Its claim made the reservation."""
        self.closed = False
        self._held: dict[OwnedChannel, Endpoint] | None = {}
        """Channels of visitors who wait for the owner's words, with their originators; None once they are let through."""
        self._streams: set[OwnedChannel] = set()
        self._opening: dict[OwnedChannel, float] = {}
        """Channels that the client has not answered for, with their deadlines (monotonic), oldest first."""
        self._idle: asyncio.Event | None = None
        self._on_close: list[Callable[[], None]] = []

    # --- Tunnel

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Stream:
        grant.require(self.address, self.owner, Use.VISIT)
        channel = TunnelChannel(self.client.connection, sink, self)
        if self.closed:
            self.client.call_soon(channel.refuse, OpenFailure.GONE)
        elif self._held is not None:
            self._held[channel] = originator
        elif not self._open(channel, originator):
            self.client.call_soon(channel.refuse, OpenFailure.LIMIT)  # as every failure: after `dial` has returned
        return channel

    def comes_from(self, origin: str) -> bool:
        return self.client.comes_from(origin)

    def visited(self, visit: Visit) -> None:
        self.client.visited(self, visit)

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._on_close.append(callback)

    # --- life

    @property
    def anonymous(self) -> bool:
        """Its owner came without a key."""
        return self.client.identity.anonymous

    @property
    def is_held(self) -> bool:
        """Visitors wait for the owner's words. Nothing outside shows it: this is what tests look at."""
        return self._held is not None

    @property
    def openings(self) -> int:
        """Channels that the client has not answered for. Nothing outside shows it: this is what tests look at."""
        return len(self._opening)

    def let_through(self) -> None:
        """Open the tunnel to visitors: those who waited, and all who come."""
        held, self._held = self._held or {}, None
        for channel, originator in held.items():
            if channel.state is not State.HELD:
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
                self.client.connection.sink_failed(error)

    @property
    def streams(self) -> int:
        """Streams that are open or opening."""
        return len(self._streams)

    @property
    def serving(self) -> bool:
        """Streams are open, or visitors of its port have not taken all that came for them. Of HTTP the edge knows: its
        idle streams are open too."""
        if kind_of(self.address.kind).holds_idle_streams:
            return False
        return bool(self._streams or (self.listener and len(self.listener)))

    async def wait_idle(self, seconds: float) -> None:
        """Return when no stream is open any more, or after `seconds`."""
        if self._streams:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
            except TimeoutError:
                pass

    def cut(self) -> None:
        """End the streams that are still open; their visitors see a broken connection, never a clean end."""
        for channel in list(self._streams):
            channel.cut(ConnectionResetError("the tunnel was closed"))

    def _open(self, channel: OwnedChannel, originator: Endpoint) -> bool:
        """Ask for a `forwarded-tcpip` channel (RFC 4254 §7.2). False when the connection has too many, or is gone."""
        host, port = self.bind
        originator = sayable(originator)
        try:
            self.client.connection.open_channel(
                channel,
                b"forwarded-tcpip",
                String(host),
                UInt32(port),
                String(originator.host),
                UInt32(originator.port),
            )
        except ChannelOpenError:
            self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.LIMIT.value)
            return False
        self._streams.add(channel)
        self._opening[channel] = self.client.services.clock.monotonic() + limits.STREAM_OPEN_SECONDS
        return True

    # --- ChannelOwner

    def channel_answered(self, channel: OwnedChannel, opened: bool) -> None:
        self._answered(channel)
        if opened:
            self.client.report("channel.opened", tunnel=self.id)
        else:
            self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.REFUSED.value)
            self.client.target_refused(self, "nothing answers at your local target")

    def channel_unfit(self, channel: OwnedChannel, packet_size: int) -> None:
        self._answered(channel)
        self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.REFUSED.value)
        self.client.target_refused(
            self,
            f"your SSH client takes packets of {packet_size} bytes only; {limits.LEAST_PACKET_BYTES} are needed at least",
        )

    def _answered(self, channel: OwnedChannel) -> None:
        if (deadline := self._opening.pop(channel, None)) is not None:
            asked = deadline - limits.STREAM_OPEN_SECONDS
            self.client.connection.answered_in(self.client.services.clock.monotonic() - asked)

    def channel_gone(self, channel: OwnedChannel) -> None:
        if self._held is not None:
            self._held.pop(channel, None)
        self._opening.pop(channel, None)
        self._streams.discard(channel)
        if self._idle is not None and not self._streams:
            self._idle.set()

    def give_up_openings(self, now: float) -> None:
        """Refuse streams whose open was not answered in STREAM_OPEN_SECONDS (monotonic `now`)."""
        while self._opening:
            channel, deadline = next(iter(self._opening.items()))
            if deadline > now:
                return
            del self._opening[channel]
            self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.TIMEOUT.value)
            channel.refuse(OpenFailure.TIMEOUT)
