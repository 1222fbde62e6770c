"""A connection handles a bounded number of packets in a turn, of any size. Then the others have their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DISCONNECT,
    MSG_IGNORE,
    OPEN_CONNECT_FAILED,
)
from asyncssh.packet import SSHPacket, String, UInt32

from ferry.ssh.wire.connection import HardenedConnection
from inside_gateway import SECONDS, inside_gateway
from raw_session import open_session
from ssh.wire.lean_script import Play, far_clients
from turns import until

TURN_PACKETS = 256
CIPHERS = ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
MANY = 4 * TURN_PACKETS
MOST = TURN_PACKETS // 2 + 1
"""Of data, from a client that sends an SSH_MSG_IGNORE before each; one more where a turn begins with a packet that had
begun before."""


pytestmark = pytest.mark.usefixtures("nothing_fails")


class Turns:
    """Counts what happens in each turn of the loop."""

    def __init__(self) -> None:
        self.counts = [0]
        self._going = True

    def begin(self) -> None:
        self._tick()

    def _tick(self) -> None:
        if self._going:
            self.counts.append(0)
            asyncio.get_running_loop().call_soon(self._tick)

    def count(self) -> None:
        self.counts[-1] += 1

    def end(self) -> None:
        self._going = False


class Counting(HardenedConnection):
    """The product's own, which counts the data packets that it sends."""

    turns: ClassVar[Turns]

    def send_data(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        Counting.turns.count()
        super().send_data(channel, data)

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype == MSG_CHANNEL_DATA:
            Counting.turns.count()
        super().send_packet(pkttype, *args, handler=handler)


@asynccontextmanager
async def on_stage(key: Path, cipher: str, *, window: int = 2**31, packet: int = 256) -> AsyncIterator[Play]:
    """One open channel."""
    Counting.turns = Turns()
    async with (
        asyncio.timeout(SECONDS),
        far_clients(),
        inside_gateway(kind=Counting) as gateway,
        gateway.client(key, encryption_algs=[cipher]) as client,
    ):
        assert await client.forward(b"work", 80)
        await gateway.let_through()
        play = Play(gateway, client)
        await play.open(window, packet)
        await play.settle()
        yield play


@pytest.mark.parametrize("cipher", CIPHERS)
async def test_a_peer_that_takes_small_packets_gets_a_bounded_number_in_a_turn(key: Path, cipher: str) -> None:
    async with on_stage(key, cipher) as play:
        Counting.turns.begin()
        play.streams[0].write(bytes(MANY * 256))
        await play.settle()
        Counting.turns.end()
        assert sum(Counting.turns.counts) == MANY
        assert max(Counting.turns.counts) <= TURN_PACKETS


async def test_all_channels_of_a_connection_share_its_turn(key: Path) -> None:
    async with on_stage(key, CIPHERS[0]) as play:
        for _ in range(3):
            await play.open(2**31, 256)
        await play.settle()
        Counting.turns.begin()
        for stream in play.streams:
            stream.write(bytes(MANY * 256))
        assert Counting.turns.counts[-1] <= TURN_PACKETS
        await play.settle()
        Counting.turns.end()
        assert sum(Counting.turns.counts) == 4 * MANY
        assert max(Counting.turns.counts) <= TURN_PACKETS
        assert [len(peer.got) for peer in play.peers] == [MANY * 256] * 4


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize(("size", "count"), [(2, MANY), (2, 8 * MANY)], ids=["in one read", "in several reads"])
async def test_a_peer_that_sends_small_packets_is_read_a_bounded_number_in_a_turn(
    key: Path, cipher: str, size: int, count: int
) -> None:
    async with on_stage(key, cipher) as play:
        turns, sink = Turns(), play.sinks[0]
        sink.hearing = turns.count
        turns.begin()
        for number in range(count):
            play.client.send(
                MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), String(bytes([number % 251, 0]) * (size // 2))
            )
        await play.settle()
        turns.end()
        assert sum(turns.counts) == count
        assert max(turns.counts) <= MOST
        assert sink.got == b"".join(bytes([n % 251, 0]) * (size // 2) for n in range(count))


async def test_a_window_that_grows_by_a_byte_costs_as_many_packets_as_it_is_asked_with(key: Path) -> None:
    async with on_stage(key, CIPHERS[0], window=0, packet=32_768) as play:
        play.streams[0].write(bytes(MANY))
        Counting.turns.begin()
        for _ in range(MANY):
            play.client.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(play.peers[0].theirs), UInt32(1))
        await play.settle()
        Counting.turns.end()
        assert max(Counting.turns.counts) <= TURN_PACKETS
        assert len(play.peers[0].got) == MANY


async def test_bytes_after_a_used_up_turn_are_not_read_and_not_lost(key: Path) -> None:
    """The end of the connection behind thousands of small packets is heard after the last of them."""
    async with on_stage(key, CIPHERS[0]) as play:
        for _ in range(MANY):
            play.client.send(MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), String(b"ab"))
        play.client.send(MSG_DISCONNECT, UInt32(11), String(b"bye"), String(b""))
        cast(Any, play.client.connection)._transport.close()
        await until(lambda: play.sinks[0].heard[-1] == "broken")
        heard: list[Any] = play.sinks[0].heard
        assert (heard[0], len(b"".join(heard[1:-1]))) == ("opened", 2 * MANY)


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("before", [TURN_PACKETS - 1, TURN_PACKETS, 2 * TURN_PACKETS - 1])
async def test_a_disconnect_in_the_last_packet_of_a_turn_ends_the_connection(
    key: Path, cipher: str, before: int
) -> None:
    """And nothing that it has sent behind that is looked at."""
    async with on_stage(key, cipher) as play:
        for _ in range(before):
            play.client.send(MSG_CHANNEL_DATA, UInt32(play.peers[0].theirs), String(b"ab"))
        play.client.send(MSG_DISCONNECT, UInt32(11), String(b"bye"), String(b""))
        for _ in range(TURN_PACKETS):
            play.client.send(MSG_IGNORE, String(b""))
        await until(lambda: play.sinks[0].heard[-1] == "broken")
        heard: list[Any] = play.sinks[0].heard
        assert len(b"".join(heard[1:-1])) == 2 * before
        await until(lambda: not play.gateway.clients)


@pytest.mark.parametrize("sessions", [1, 4])
async def test_sessions_that_take_small_packets_get_a_bounded_number_in_a_turn(key: Path, sessions: int) -> None:
    """Each lets a backlog of visits with long paths wait behind a window of nothing, and opens it at once."""
    visits, path = 24, b"/" + b"a" * 7_900
    async with on_stage(key, CIPHERS[0]) as play:
        play.gateway.change(request_log=True)

        def refuse(packet: SSHPacket) -> None:
            packet.get_string()
            code = UInt32(OPEN_CONNECT_FAILED)
            play.client.send(MSG_CHANNEL_OPEN_FAILURE, UInt32(packet.get_uint32()), code, String(b"no"), String(b""))

        play.client.on(MSG_CHANNEL_OPEN, refuse)
        shown = [await open_session(play.client, 5000 + number, 0, 256) for number in range(sessions)]
        for session in shown:
            assert session is not None
            assert await session.ask(b"exec", String(b"output=json"))
        for _ in range(visits):
            reader, writer = await asyncio.open_connection("127.0.0.1", play.gateway.http_port)
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: work.localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
            writer.close()
        await play.settle()
        Counting.turns.begin()
        for session in shown:
            assert session is not None
            session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**31 - 1))
        await play.settle()
        Counting.turns.end()
        assert max(Counting.turns.counts) <= TURN_PACKETS
        for session in shown:
            assert session is not None
            assert session.said.count(path) == visits
            assert sum(Counting.turns.counts) >= sessions * len(session.said) // 256
