"""A client that stops reading, or begins a key exchange and never ends it, is ended with the reason; a slow one is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asyncssh.constants import MSG_CHANNEL_REQUEST, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.packet import Boolean, String, UInt32

from ferry import limits
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient
from ssh.wire.lean_script import NO_SUCH_MESSAGE, Play
from turns import turns, until

STUCK_SECONDS = 30.0
UNREAD_BYTES = 256 * 1024
DEFERRED_PACKETS = 4096
NOT_READING = "the client has not read for too long"
MOST = 1024 * 1024
NO_KEYS = "a key exchange did not end in time"


@dataclass
class Stage:
    """A client with a channel whose window never runs out, and a gateway whose clock the test moves."""

    gateway: Inside
    client: RawClient
    play: Play
    now: float = 1000.0

    @property
    def transport(self) -> Any:
        """The client's."""
        connection: Any = self.client.connection
        return connection._transport

    @property
    def waiting(self) -> int:
        """Bytes that the gateway has for the client, and that the socket does not take."""
        connection: Any = self.play.connection
        return int(connection._transport.get_write_buffer_size())

    @property
    def full(self) -> bool:
        """The gateway's socket for the client takes no more."""
        connection: Any = self.play.connection
        return self.waiting > int(connection._transport.get_write_buffer_limits()[1])

    def pass_time(self, seconds: float) -> str | None:
        """What the gateway's look at the connection finds, that much later."""
        self.now += seconds
        return self.play.connection.stuck(self.now)

    async def ended_for(self) -> object:
        """The reason that the log gives, once the gateway's looks have ended the connection."""
        async with asyncio.timeout(SECONDS):
            while self.gateway.clients:
                await self.gateway.tick()
                await asyncio.sleep(0)
        (closed,) = self.gateway.said("connection.closed")
        return closed["reason"]

    async def fill(self) -> None:
        """Until the socket is full."""
        async with asyncio.timeout(SECONDS):
            while not self.full:
                self.play.streams[0].write(bytes(256 * 1024))
                await asyncio.sleep(0)

    def begin_keys(self) -> None:
        """A key exchange that will not end: what the gateway says to it is left unread."""
        connection: Any = self.client.connection
        connection._send_kexinit()
        connection._kexinit_sent = True
        connection._recv_handler = lambda: False

    async def in_kex(self) -> None:
        await until(lambda: not self.play.connection._kex_complete)

    async def fewer_wait(self, before: int) -> None:
        """Until fewer bytes than `before` wait."""
        await until(lambda: self.waiting < before)

    async def others_wait(self, before: int) -> None:
        """Until not exactly `before` bytes wait."""
        await until(lambda: self.waiting != before)


@pytest.fixture
async def stage(key: Path) -> AsyncIterator[Stage]:
    async with on_stage(key) as set_up:
        yield set_up


@asynccontextmanager
async def on_stage(key: Path) -> AsyncIterator[Stage]:
    async with inside_gateway() as gateway, gateway.client(key) as client:
        assert await client.forward(b"stuck", 80)
        await gateway.let_through()
        play = Play(gateway, client)
        await play.open(2**31, 2**15)
        await play.settle()
        yield Stage(gateway, client, play)


async def test_a_client_that_stops_reading_is_ended_with_a_logged_reason(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.transport.pause_reading()
    await stage.fill()
    monkeypatch.setattr(limits, "STUCK_SECONDS", 0.0)
    await stage.gateway.tick()
    assert stage.gateway.clients  # the first look only notes what waits
    assert await stage.ended_for() == NOT_READING
    assert stage.play.sinks[0].heard == ["opened", "broken"]


async def test_a_client_that_never_ends_a_key_exchange_is_ended_with_a_logged_reason(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.begin_keys()
    await stage.in_kex()
    monkeypatch.setattr(limits, "STUCK_SECONDS", 0.0)
    assert await stage.ended_for() == NO_KEYS


async def test_the_time_is_that_of_the_limit(stage: Stage) -> None:
    stage.transport.pause_reading()
    await stage.fill()
    assert stage.pass_time(0) is None
    assert stage.pass_time(STUCK_SECONDS) is None
    assert stage.pass_time(0.1) == NOT_READING


async def test_a_client_that_reads_slowly_stays(stage: Stage) -> None:
    """Also where as much waits for it at each look: the gateway fills what it has read."""
    stage.transport.pause_reading()
    await stage.fill()
    for _ in range(10):
        before = stage.waiting
        stage.transport.resume_reading()
        await stage.fewer_wait(before)
        stage.transport.pause_reading()
        await stage.fill()
        assert stage.pass_time(STUCK_SECONDS * 0.9) is None


async def test_a_client_that_does_not_read_is_stuck_while_more_bytes_wait(stage: Stage) -> None:
    """It may go on to send what is answered: those answers are no sign of reading."""
    stage.transport.pause_reading()
    await stage.fill()
    stage.pass_time(0)
    for _ in range(3):
        before = stage.waiting
        stage.client.send(NO_SUCH_MESSAGE, String(b"to be answered"))
        await stage.others_wait(before)
        found = stage.pass_time(STUCK_SECONDS * 0.4)
    assert found == NOT_READING


async def test_a_client_that_sends_requests_without_reading_answers_is_not_read(stage: Stage) -> None:
    stage.transport.pause_reading()
    await stage.fill()
    stage.pass_time(0)
    asked = 0

    async def ask(size: int) -> None:
        nonlocal asked
        asked += 200
        for _ in range(200):
            stage.client.send(NO_SUCH_MESSAGE, String(bytes(size)))
        await turns()

    async with asyncio.timeout(SECONDS):
        before = 0
        while before < stage.waiting < MOST:
            before = stage.waiting
            for _ in range(5):
                await ask(1)
        while stage.transport.get_write_buffer_size() < MOST:  # in the end what it asks stays with it
            await ask(16 * 1024)
    assert UNREAD_BYTES < stage.waiting < MOST
    assert stage.pass_time(STUCK_SECONDS + 1) == NOT_READING
    stage.transport.resume_reading()
    await until(lambda: len(stage.play.unimplemented) >= asked)
    await stage.play.settle()


async def test_a_closed_channel_with_untaken_bytes_ends_alone(stage: Stage) -> None:
    """Its visitor has gone; its number and its place among the tunnel's channels would be in use for ever."""
    await stage.play.open(10, 2**15)
    stage.play.streams[1].write(bytes(110))
    stage.play.streams[1].close()
    for taken in (10, 60):
        await stage.play.settle()
        assert stage.pass_time(1) is None
        assert stage.pass_time(STUCK_SECONDS) is None
        assert not stage.play.peers[1].closed, taken
        stage.client.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(stage.play.peers[1].theirs), UInt32(50))
    await stage.play.settle()
    assert stage.play.peers[1].closed
    await stage.play.open(10, 2**15)
    stage.play.streams[2].write(bytes(11))
    stage.play.streams[2].close()
    for seconds in (0, STUCK_SECONDS, 0.1):
        await stage.play.settle()
        assert not stage.play.peers[2].closed
        assert stage.pass_time(seconds) is None
    await stage.play.settle()
    assert [peer.closed for peer in stage.play.peers] == [False, True, True]


async def test_endless_requests_during_a_key_exchange_end_the_connection(stage: Stage) -> None:
    stage.begin_keys()
    await stage.in_kex()
    connection: Any = stage.client.connection
    number = stage.play.peers[0].theirs
    connection._kex_complete = True  # it goes on as if there were none, which RFC 4253 §7.1 forbids
    asked = 0
    async with asyncio.timeout(SECONDS):
        while stage.gateway.clients and asked < 10 * DEFERRED_PACKETS:
            asked += 500
            for _ in range(500):
                stage.client.send(MSG_CHANNEL_REQUEST, UInt32(number), String(b"to be answered"), Boolean(True))
            await asyncio.sleep(0)
    (closed,) = stage.gateway.said("connection.closed")
    assert closed["reason"] == "Too many requests during a key exchange"


async def test_successive_key_exchanges_are_not_stuck(stage: Stage) -> None:
    connection: Any = stage.client.connection
    for _ in range(3):
        stage.begin_keys()
        await stage.in_kex()
        assert stage.pass_time(STUCK_SECONDS * 0.9) is None
        connection._recv_handler = connection._recv_pkthdr
        connection._recv_data()
        await stage.play.settle()
