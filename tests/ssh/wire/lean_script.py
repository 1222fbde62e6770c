"""Plays one script of an SSH connection to a gateway of a chosen kind, and records the view of both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from asyncssh.connection import SSHServerConnection
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DEBUG,
    MSG_IGNORE,
    MSG_UNIMPLEMENTED,
)
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry import limits
from ferry.names import Endpoint
from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.connection import HardenedConnection
from ferry.streams import OpenFailure
from granted import to_visit
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient

Step = tuple[Any, ...]
NO_SUCH_MESSAGE = 200
PATTERN = bytes(range(251)) * 4000


class AsyncsshsOwn(HardenedConnection):
    """Our bounds and manners on asyncssh's own packets: what the lean path is compared with."""

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        SSHServerConnection.send_packet(self, pkttype, *args, handler=handler)

    def send_data(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        SSHServerConnection.send_packet(self, MSG_CHANNEL_DATA, UInt32(channel), String(bytes(data)))

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        SSHServerConnection.send_newkeys(self, k, h)

    def _recv_data(self) -> None:
        SSHServerConnection._recv_data(self)


def merged(events: list[object]) -> list[object]:
    """Joins neighbouring pieces of data, because their sizes do not matter."""
    out: list[object] = []
    for event in events:
        if isinstance(event, bytes) and out and isinstance(out[-1], bytes):
            out[-1] += event
        else:
            out.append(event)
    return out


def all_data(heard: Sequence[object]) -> bytes:
    return b"".join(what for what in heard if isinstance(what, bytes))


class Sink:
    """What the gateway's side of one channel is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.hearing: Callable[[], None] = lambda: None
        """Called with each piece of data."""

    @property
    def got(self) -> bytes:
        """All data."""
        return all_data(self.heard)

    def stream_opened(self) -> None:
        self.heard.append("opened")

    def stream_refused(self, failure: OpenFailure) -> None:
        self.heard.append(failure)

    def data_received(self, data: bytes) -> None:
        assert data
        self.hearing()
        self.heard.append(bytes(data))

    def eof_received(self) -> None:
        self.heard.append("eof")

    def stream_lost(self, error: Exception | None) -> None:
        self.heard.append("broken" if error else "closed")

    def pause_writing(self) -> None:
        """When exactly depends on the socket."""

    resume_writing = pause_writing


@dataclass
class Peer:
    """The client's side of one channel: takes messages from asyncssh's table of channels."""

    ours: int
    theirs: int
    credit: int
    """What we may send."""
    heard: list[object] = field(default_factory=list)
    returned: int = 0
    ended: bool = False
    """We have sent an end of file or a close."""
    gone: bool = False
    closed: bool = False
    sent: int = 0

    @property
    def got(self) -> bytes:
        """All data."""
        return all_data(self.heard)

    def process_packet(self, message: int, _sequence: int, packet: SSHPacket) -> bool:
        if message == MSG_CHANNEL_DATA:
            self.heard.append(packet.get_string())
        elif message == MSG_CHANNEL_WINDOW_ADJUST:
            size = packet.get_uint32()
            self.credit += size
            self.returned += size
        elif message == MSG_CHANNEL_EOF:
            self.heard.append("eof")
        elif message == MSG_CHANNEL_CLOSE:
            self.heard.append("close")
            self.closed = True
        else:
            self.heard.append(message)
        packet.check_end()
        return True

    def log_received_packet(self, *_: object) -> None:
        """Nothing to trace."""

    def process_connection_close(self, _error: object) -> None:
        """Ignored."""


class Play:
    """A gateway, a client, and the channels between them."""

    def __init__(self, gateway: Inside, client: RawClient) -> None:
        self.gateway, self.client = gateway, client
        self.tunnel = gateway.tunnels[0]
        [self.connection] = [one.connection for one in gateway.clients if self.tunnel in one.forwards.values()]
        self.sinks: list[Sink] = []
        self.streams: list[TunnelChannel] = []
        self.peers: list[Peer] = []
        self.written: list[int] = []
        self.paused: set[int] = set()
        self.unimplemented: list[int] = []
        self.odd: list[int] = []
        client.hold_opens()
        client.on(MSG_UNIMPLEMENTED, lambda packet: self.unimplemented.append(packet.get_uint32()))

    async def settle(self) -> None:
        """Wait until no more data can move."""
        while True:
            assert await self.client.lives()
            ours: Any = self.connection
            theirs: Any = self.client.connection
            if not ours._round and all(c._kex_complete and not c._deferred_packets for c in (ours, theirs)):
                break
        assert await self.client.lives()

    async def open(self, window: int, packet: int) -> None:
        sink = Sink()
        grant = to_visit(self.tunnel)
        self.streams.append(cast(TunnelChannel, self.tunnel.dial(grant, Endpoint("192.0.2.1", 4711), cast(Any, sink))))
        self.sinks.append(sink)
        self.written.append(0)
        theirs, rest = await self.client.opens.get()
        ours = 1000 + len(self.peers)
        self.peers.append(peer := Peer(ours, theirs, int.from_bytes(rest[:4], "big")))
        self.client.connection._channels[ours] = peer
        self.client.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(theirs), UInt32(ours), UInt32(window), UInt32(packet))

    async def step(self, what: str, *arguments: Any) -> None:
        if what == "open":
            await self.open(*arguments)
        elif what in ("ours", "theirs"):
            side: Any = self.connection if what == "ours" else self.client.connection
            if side._kex_complete:
                side._send_kexinit()
                side._kexinit_sent = True
        elif what == "ignore":
            self.client.send(MSG_IGNORE, String(bytes(*arguments)))
        elif what == "debug":
            self.client.send(MSG_DEBUG, Boolean(False), String(b"hello"), String(b""))
        elif what == "odd":
            await self.settle()  # so that the number of the packet is known
            self.client.send(NO_SUCH_MESSAGE, b"?")
            self.odd.append((cast(Any, self.client.connection)._send_seq - 1) & 0xFFFFFFFF)
        elif what == "settle":
            await self.settle()
        elif self.peers:
            await self.on_channel(what, arguments[0] % len(self.peers), *arguments[1:])

    async def on_channel(self, what: str, number: int, size: int = 0) -> None:
        stream, peer = self.streams[number], self.peers[number]
        if what == "write":
            at = self.written[number] % 251
            self.written[number] += size
            stream.write(PATTERN[at : at + size])
        elif what == "write eof":
            stream.write_eof()
        elif what == "close":
            await self.settle()  # what comes later is dropped: it must be the same in every play
            stream.close()
        elif what == "abort":
            await self.settle()
            stream.abort()
        elif what == "pause":
            await self.settle()
            self.paused.add(number)
            stream.pause_reading()
        elif what == "resume":
            self.paused.discard(number)
            stream.resume_reading()
        elif not peer.gone:
            await self.by_peer(what, number, size)

    async def by_peer(self, what: str, number: int, size: int) -> None:
        peer = self.peers[number]
        to = UInt32(peer.theirs)
        if what == "adjust":
            self.client.send(MSG_CHANNEL_WINDOW_ADJUST, to, UInt32(size))
        elif what == "peer close":
            await self.settle()
            peer.ended = peer.gone = True
            self.client.send(MSG_CHANNEL_CLOSE, to)
        elif what == "peer eof" and not peer.ended:
            peer.ended = True
            self.client.send(MSG_CHANNEL_EOF, to)
        elif what == "data" and not peer.ended:
            if size > peer.credit:
                await self.settle()
            size = min(size, peer.credit)
            peer.credit -= size
            for at in range(0, size, 32768) if size else (0,):
                part = min(32768, size - at)
                start = (peer.sent + at) % 251
                self.client.send(MSG_CHANNEL_DATA, to, String(PATTERN[start : start + part]))
            peer.sent += size

    async def end(self) -> None:
        """Let everything out, and close what is open."""
        for number in range(len(self.peers)):
            await self.on_channel("resume", number)
            await self.on_channel("adjust", number, 2**24)
            await self.on_channel("write eof", number)
            await self.on_channel("peer eof", number)
        await self.settle()
        for number in range(len(self.peers)):
            await self.on_channel("close", number)
            await self.on_channel("peer close", number)
        await self.settle()
        assert all(peer.closed for peer in self.peers)
        assert self.tunnel.streams == 0

    def seen(self) -> list[object]:
        """What both ends saw, channel by channel."""
        assert self.unimplemented == self.odd
        return [
            (merged(sink.heard), merged(peer.heard), peer.returned)
            for sink, peer in zip(self.sinks, self.peers, strict=True)
        ]


@asynccontextmanager
async def far_clients() -> AsyncIterator[None]:
    """All windows are of one size, however quick the machine is at the moment."""
    with patch.object(limits, "NEAR_SECONDS", -1.0):
        yield


async def play(script: Sequence[Step], key: Path, kind: type[HardenedConnection], cipher: str) -> list[object]:
    """What was seen when `script` was played."""
    async with (
        asyncio.timeout(SECONDS * 3),
        far_clients(),
        inside_gateway(kind=kind) as gateway,
        gateway.client(key, encryption_algs=[cipher]) as client,
    ):
        assert await client.forward(b"lean", 80)
        await gateway.let_through()
        one = Play(gateway, client)
        for step in script:
            await one.step(*step)
        await one.end()
        return one.seen()


@asynccontextmanager
async def one_channel(
    key: Path, cipher: str = "aes128-gcm@openssh.com", *, kind: type[HardenedConnection] = HardenedConnection
) -> AsyncIterator[Play]:
    """A client with a tunnel that lets visitors through, and one open channel of it."""
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(kind=kind) as gateway,
        gateway.client(key, encryption_algs=[cipher]) as client,
    ):
        assert await client.forward(b"channel", 80)
        await gateway.let_through()
        play = Play(gateway, client)
        await play.open(2**20, 2**15)
        await play.settle()
        yield play
