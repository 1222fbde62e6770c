"""One accepted remote forward of one client: what `registry.routes.Tunnel` promises, over SSH channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from asyncssh.misc import ChannelOpenError
from asyncssh.packet import String, UInt32

from ferry import limits
from ferry.names import Address, Endpoint, Identity, Kind, SessionId, TunnelId
from ferry.policy.grants import Action, Grant
from ferry.registry.routes import Traffic, Visit
from ferry.streams import OpenFailure, Sink, Stream, Tap

from .channel import TunnelChannel
from .originator import sayable

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
        visitor_grant: Grant,
        *,
        created: float,
        tls_upstream: bool,
        requested: bool,
        asked_wide: bool,
    ) -> None:
        self.client = client
        self.id = tunnel_id
        self.session: SessionId = client.id
        self.address = address
        self.kind = address.kind.value
        self.shown_address = str(address)
        self.identity: Identity = client.identity
        self.generation = generation
        self.bind = bind
        self.created = created
        self.tls_upstream = tls_upstream
        self.requested = requested
        """Asked for by name or number; a claim of the same identity takes it over while this one is alive."""
        self.asked_wide = asked_wide
        """A listen address beyond loopback was written in the request."""
        self.visitor_grant = visitor_grant
        self.traffic = Traffic()
        self.tap: Tap | None = None
        self.edge_state: object | None = None
        self.listener: PortListener | None = None
        self.trial_until: float | None = None
        """When its name is to be reserved (monotonic), on a gateway where names must first be used."""
        self.new_name = False
        """Its claim made the reservation."""
        self.closed = False
        self._held: list[_HeldStream] | None = []
        """Visitors who wait for the owner's words; None once they are let through."""
        self._streams: set[TunnelChannel] = set()
        self._opening: dict[TunnelChannel, float] = {}
        """Channels that the client has not answered for, with their deadlines (monotonic), oldest first."""
        self._idle: asyncio.Event | None = None
        self._on_close: list[Callable[[], None]] = []

    # --- Tunnel

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Stream:
        grant.require(Action.VISIT, self.address)
        held = _HeldStream(self, originator, sink)
        if self.closed:
            self.client.call_soon(held.refuse, OpenFailure.GONE)
        elif self._held is not None:
            self._held.append(held)
        else:
            return self._open(originator, sink) or held.refused_soon()
        return held

    def visited(self, visit: Visit) -> None:
        self.client.visited(self, visit)

    def on_close(self, callback: Callable[[], None]) -> None:
        if self.closed:
            callback()
        else:
            self._on_close.append(callback)

    # --- life

    def let_through(self) -> None:
        """Open the tunnel to visitors: those who waited, and all who come."""
        held, self._held = self._held, None
        for stream in held or ():
            stream.proceed()

    def close(self) -> None:
        """Stop taking visitors. Streams that are open go on until they end or `cut` is called."""
        if self.closed:
            return
        self.closed = True
        held, self._held = self._held, None
        for stream in held or ():
            stream.refuse(OpenFailure.GONE)
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            callback()

    @property
    def streams(self) -> int:
        """Streams that are open or opening."""
        return len(self._streams)

    @property
    def serving(self) -> bool:
        """Streams are open, or visitors of its port have not taken all that came for them. Of HTTP the edge knows: its
        idle streams are open too."""
        return self.address.kind is not Kind.HTTP and bool(self._streams or (self.listener and len(self.listener)))

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

    def open_stream(self, originator: Endpoint, sink: Sink) -> TunnelChannel | None:
        """Open a `forwarded-tcpip` channel (RFC 4254 §7.2). None when the connection has too many, or is gone."""
        return self._open(originator, sink)

    def _open(self, originator: Endpoint, sink: Sink) -> TunnelChannel | None:
        host, port = self.bind
        originator = sayable(originator)
        try:
            channel = self.client.connection.open_channel(
                sink,
                self,
                b"forwarded-tcpip",
                String(host),
                UInt32(port),
                String(originator.host),
                UInt32(originator.port),
            )
        except ChannelOpenError:
            self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.LIMIT.value)
            return None
        self._streams.add(channel)
        self._opening[channel] = self.client.services.clock.monotonic() + limits.STREAM_OPEN_SECONDS
        return channel

    # --- ChannelOwner

    def channel_answered(self, channel: TunnelChannel, opened: bool) -> None:
        if (deadline := self._opening.pop(channel, None)) is not None:
            asked = deadline - limits.STREAM_OPEN_SECONDS
            self.client.connection.answered_in(self.client.services.clock.monotonic() - asked)
        if opened:
            self.client.report("channel.opened", tunnel=self.id)
        else:
            self.client.report("channel.failed", tunnel=self.id, failure=OpenFailure.REFUSED.value)
            self.client.target_refused(self)

    def channel_gone(self, channel: TunnelChannel) -> None:
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
            channel.give_up()


class _HeldStream:
    """A stream whose channel is not opened yet, because the tunnel is held, or never will be.

    It becomes a thin shell around the channel once that exists. Only visitors of the first half second get one.
    """

    def __init__(self, tunnel: SshTunnel, originator: Endpoint, sink: Sink) -> None:
        self._tunnel = tunnel
        self._originator = originator
        self._sink: Sink | None = sink
        self._channel: TunnelChannel | None = None
        self._written: list[bytes] = []
        self._size = 0
        self._eof = self._closing = self._reading_paused = self._sink_paused = False

    def proceed(self) -> None:
        """Open the channel and hand over what was written meanwhile."""
        if self._sink is None:
            return
        self._channel = self._tunnel.open_stream(self._originator, self._sink)
        if self._channel is None:
            self.refuse(OpenFailure.LIMIT)
            return
        if self._reading_paused:
            self._channel.pause_reading()
        for data in self._written:
            self._channel.write(data)
        self._written.clear()
        if self._sink_paused:
            self._sink.resume_writing()
        if self._eof:
            self._channel.write_eof()
        if self._closing:
            self._channel.close()

    def refuse(self, failure: OpenFailure) -> None:
        """Tell the sink that there will be no stream."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.stream_refused(failure)

    def refused_soon(self) -> Stream:
        """For a `dial` that fails at once: the sink hears of it after `dial` has returned, as of every failure."""
        self._tunnel.client.call_soon(self.refuse, OpenFailure.LIMIT)
        return self

    def write(self, data: bytes) -> None:
        if self._channel is not None:
            self._channel.write(data)
            return
        self._written.append(data)
        self._size += len(data)
        if self._size > limits.HIGH_WATER_BYTES and not self._sink_paused and self._sink is not None:
            self._sink_paused = True
            self._sink.pause_writing()

    def write_eof(self) -> None:
        self._eof = True
        if self._channel is not None:
            self._channel.write_eof()

    def close(self) -> None:
        self._closing = True
        if self._channel is not None:
            self._channel.close()

    def abort(self) -> None:
        self._sink = None
        self._written.clear()
        if self._channel is not None:
            self._channel.abort()

    def pause_reading(self) -> None:
        self._reading_paused = True
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_reading(self) -> None:
        self._reading_paused = False
        if self._channel is not None:
            self._channel.resume_reading()
