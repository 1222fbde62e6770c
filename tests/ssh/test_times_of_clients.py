"""Waiting times for SSH clients, with the default configuration. This page has its own figures."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_GLOBAL_REQUEST,
    OPEN_CONNECT_FAILED,
)
from asyncssh.packet import Boolean, String, UInt32

from ferry import tasks
from ferry.limiters.penalties import Offence, Penalties
from ferry.limiters.sources import ExemptNetworks
from hurried_loop import LoopsClock, Watch, hurried
from inside_gateway import Inside, inside_gateway
from raw_client import RawClient
from raw_session import open_session
from turns import timers, until

FOR_EVER = 300
UPLOAD = 24 * 1024 * 1024  # more than the buffers of the system between gateway and client
TCP_NOTSENT_LOWAT = 25  # tcp(7); not in `socket` before 3.12
VERSION = b"SSH-2.0-silent\r\n"


async def visit(
    inside: Inside, name: str, method: str = "GET", length: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", inside.http_port)
    body = f"Content-Length: {length}\r\n" if length else ""
    writer.write(f"{method} / HTTP/1.1\r\nHost: {name}.localhost\r\n{body}Connection: close\r\n\r\n".encode())
    return reader, writer


@hurried
async def test_a_client_that_waits_for_the_gateways_key_exchange_gets_it_in_a_quarter_of_a_second() -> None:
    """KEXINIT_WAIT_SECONDS."""
    async with inside_gateway(clock=LoopsClock()) as inside, asyncio.timeout(15):
        reader, writer = await asyncio.open_connection("127.0.0.1", inside.ssh_port)
        writer.write(VERSION)
        await reader.readuntil(b"\r\n")
        watch = Watch()
        assert await reader.read(1)
        assert watch.seconds > 0.2
        assert watch.skipped < 0.5
        writer.close()


@hurried
async def test_a_client_ended_from_its_terminal_is_disconnected_after_two_seconds(key: Path) -> None:
    """LEAVE_SECONDS: stock ssh with a forward of its own stays otherwise."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client, asyncio.timeout(FOR_EVER):
        assert await client.forward(b"left", 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"pty-req")
        assert await session.ask(b"shell")
        watch = Watch()
        session.send(MSG_CHANNEL_DATA, String(b"\x03"))
        await client.connection.wait_closed()
        assert watch.seconds > 1.9
        assert watch.skipped < 3.5


@hurried
async def test_a_client_that_does_not_open_a_visitors_channel_has_thirty_seconds(key: Path) -> None:
    """STREAM_OPEN_SECONDS."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        ticks = tasks.spawn("tick", tasks.repeat("tick", 1.0, inside.tick))
        client.hold_opens()
        assert await client.forward(b"mute", 80)
        await inside.let_through()
        reader, writer = await visit(inside, "mute")
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            assert (await reader.read()).startswith(b"HTTP/1.1 504 ")
        assert watch.seconds > 29.9
        assert watch.skipped < 31.5
        writer.close()
        ticks.cancel()


@hurried
async def test_visitors_wait_half_a_second_for_the_words_of_a_client_that_says_none(key: Path) -> None:
    """HOLD_SECONDS."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        client.hold_opens()
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)  # nor answers a keepalive
        assert await client.forward(b"mute", 80)
        watch = Watch()
        _, writer = await visit(inside, "mute")
        async with asyncio.timeout(FOR_EVER):
            await client.opens.get()
        assert watch.seconds > 0.4
        assert watch.skipped < 0.7
        writer.close()


@hurried
async def test_a_silent_client_that_asked_for_a_port_is_spoken_to_after_a_tenth_of_a_second(key: Path) -> None:
    """ANSWER_PAUSE_SECONDS."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        asked = asyncio.Event()
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: asked.set())
        granted, _ = await client.ask(b"tcpip-forward", String(b"localhost"), UInt32(0))
        assert granted
        watch = Watch()
        async with asyncio.timeout(5):
            await asked.wait()
        assert watch.seconds > 0.05
        assert watch.skipped < 0.2


async def dead(client: RawClient) -> None:
    """It answers nothing any more, and its system goes on for it."""
    client.connection._recv_packet = lambda: False


@hurried
async def test_a_dead_client_is_given_up_after_forty_five_seconds_and_its_visitors_after_sixteen(key: Path) -> None:
    """KEEPALIVE_COUNT, of KEEPALIVE_INTERVAL_SECONDS; ALIVE_SECONDS for the answer to the first keepalive."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        ticks = tasks.spawn("tick", tasks.repeat("tick", 1.0, inside.tick))
        client.hold_opens()
        assert await client.forward(b"mute", 80)
        await inside.let_through()
        watch = Watch()
        await dead(client)
        await timers(5)  # so long is it silent when the visitor comes, who waits for the rest of sixteen seconds only
        waiting, first = await visit(inside, "mute")
        async with asyncio.timeout(FOR_EVER):
            assert (await waiting.read()).startswith(b"HTTP/1.1 503 ")
        assert watch.seconds > 15.9
        assert watch.skipped < 18
        late = Watch()
        at_once, second = await visit(inside, "mute")
        async with asyncio.timeout(FOR_EVER):
            assert (await at_once.read()).startswith(b"HTTP/1.1 503 ")
            assert late.skipped < 0.5
            await client.connection.wait_closed()
        assert watch.seconds > 44
        assert watch.skipped < 47
        first.close()
        second.close()
        ticks.cancel()


@hurried
async def test_a_client_that_speaks_again_has_visitors_again(key: Path) -> None:
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"slept", 80)
        tunnel = await inside.let_through()
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)  # it answers no keepalive
        await timers(17)
        assert tunnel.silent_for > 16
        client.send(MSG_GLOBAL_REQUEST, String(b"hello@test"), Boolean(False))
        await until(lambda: not tunnel.silent_for)
        _, writer = await visit(inside, "slept")
        async with asyncio.timeout(FOR_EVER):
            await client.opens.get()
        writer.close()
        await timers(17)
        assert tunnel.silent_for > 0
        client.connection.abort()
        await until(lambda: not inside.clients)
        assert tunnel.silent_for == 0, "it has left"


@pytest.mark.parametrize(("seconds", "silent"), [(17, False), (32, True)])
@hurried
async def test_a_client_that_has_yet_to_read_what_stands_before_a_keepalive_is_not_silent(
    key: Path, seconds: float, *, silent: bool
) -> None:
    """On a slow line the first keepalive waits behind an upload. A second one does not wait so long."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"slow", 80)
        await inside.let_through()
        _, upload = await visit(inside, "slow", "POST", UPLOAD)
        number, _ = await client.opens.get()
        client.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(number), UInt32(0), UInt32(UPLOAD), UInt32(32_768))
        client.connection._transport.pause_reading()
        upload.write(bytes(UPLOAD))
        await timers(seconds)
        reader, writer = await visit(inside, "slow")
        async with asyncio.timeout(FOR_EVER):
            if silent:
                watch = Watch()
                assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
                assert watch.skipped < 0.5
            else:
                await timers(1)
                client.connection._transport.resume_reading()
                await client.opens.get()
        writer.close()
        upload.close()


@hurried
async def test_a_dead_holder_has_a_second_before_a_takeover(key: Path) -> None:
    """ALIVE_SECONDS, for a name of the gateway's choice; FLAP_ALIVE_SECONDS, before what is left of it is ended."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as old:
        granted, _ = await old.ask(b"tcpip-forward", String(b""), UInt32(80))
        assert granted
        (address,) = [tunnel.address for tunnel in inside.tunnels]
        await dead(old)
        async with inside.client(key) as new:
            watch = Watch()
            new.send(MSG_GLOBAL_REQUEST, String(b"tcpip-forward"), Boolean(True), String(b""), UInt32(80))
            async with asyncio.timeout(FOR_EVER):
                assert (await new.answers.get())[0]
                assert watch.seconds > 0.9
                assert watch.skipped < 1.3
                assert [tunnel.address for tunnel in inside.tunnels] == [address]
                while len(inside.clients) > 1:
                    await asyncio.sleep(0.1)
            assert watch.seconds > 2.9
            assert watch.skipped < 3.5


@hurried
async def test_visitors_of_a_live_loser_have_five_seconds(key: Path) -> None:
    """TAKEOVER_DRAIN_SECONDS."""
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as old, inside.client(key) as new:
        old.hold_opens()
        assert await old.forward(b"moves", 80)
        await inside.let_through()
        reader, writer = await visit(inside, "moves")
        await old.opens.get()
        watch = Watch()
        assert await new.forward(b"moves", 80)
        async with asyncio.timeout(FOR_EVER):
            with suppress(ConnectionResetError):
                await reader.read()
        assert watch.seconds > 4.9
        assert watch.skipped < 6
        writer.close()


@hurried
async def test_a_blocked_address_has_ten_seconds_for_a_log_in() -> None:
    """LANE_SECONDS."""
    penalties, now = Penalties(ExemptNetworks([])), LoopsClock().monotonic
    async with inside_gateway(clock=LoopsClock(), penalties=penalties) as inside:
        while not penalties.blocked("127.0.0.1", now()):
            penalties.add_offence("127.0.0.1", Offence.GARBAGE, now())
        await asyncio.sleep(2)
        reader, writer = await asyncio.open_connection("127.0.0.1", inside.ssh_port)
        watch = Watch()
        async with asyncio.timeout(FOR_EVER):
            assert b"your address is blocked, so a log-in may take 10 s" in await reader.read()
        assert watch.seconds > 9.9
        assert watch.skipped < 11
        writer.close()


@hurried
async def test_a_stopping_gateway_waits_no_longer_than_its_last_visitor(key: Path) -> None:
    async with inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        port = inside.ports.loopback[0]
        client.hold_opens()
        assert await client.forward(b"localhost", port)
        await inside.let_through()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        number, _ = await client.opens.get()
        refuse = UInt32(number), UInt32(OPEN_CONNECT_FAILED), String(b"no"), String(b"")
        asyncio.get_running_loop().call_later(3, client.send, MSG_CHANNEL_OPEN_FAILURE, *refuse)
        watch = Watch()
        await inside.drain(60)
        assert watch.seconds > 2.9
        assert watch.skipped < 3.5
        writer.close()


async def test_little_waits_in_the_kernel_for_a_client(key: Path) -> None:
    """UNSENT_BYTES: small answers wait behind it."""
    async with inside_gateway() as inside, inside.client(key):
        sock = inside.clients[0].connection.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT) == 65_536
