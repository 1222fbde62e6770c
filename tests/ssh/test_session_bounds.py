"""Bounds of a session: unread terminals, remembered outcomes, and words or closes at odd moments."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asyncssh.constants import (
    DISC_PROTOCOL_ERROR,
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_DISCONNECT,
    MSG_GLOBAL_REQUEST,
    OPEN_CONNECT_FAILED,
)
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from ferry import limits
from ferry.ssh.tunnel import SshTunnel
from gateway_process import Gateway
from hurried_loop import LoopsClock, hurried
from inside_gateway import inside_gateway
from raw_client import SECONDS, RawClient, raw_client
from raw_session import Session, open_session
from session_stage import pty_request, staged
from tiny_screen import ANSWER
from turns import until

SESSION_BACKLOG_BYTES = 256 * 1024
JOURNAL = 100  # OUTCOMES_REMEMBERED: what a connection keeps for a session that opens later


async def test_a_terminal_that_does_not_read_has_bounded_text_and_learns_of_dropped_lines(key: Path) -> None:
    async with staged(key) as stage:
        session = await stage.session(terminal=True, window=0)
        visits = SESSION_BACKLOG_BYTES // 60  # a line has some more
        for _ in range(visits):
            stage.inside.tunnels[0].visited(stage.served())
        session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**30))
        while len(session.said) <= SESSION_BACKLOG_BYTES:  # it comes in turns, and answers overtake it
            await stage.settle()
        assert len(session.said) < SESSION_BACKLOG_BYTES + 1000
        session.send(MSG_CHANNEL_DATA, String(b"?"))
        await stage.settle()
        dropped = visits - session.said.count(b" 192.0.2.7\r\n")
        assert dropped > 0
        assert f"({dropped} lines were dropped: your terminal did not read them)".encode() in session.said
        assert session.said.rstrip().endswith(b"add query=full after the gateway's name.")


async def test_a_program_that_does_not_read_its_json_has_bounded_text_too(key: Path) -> None:
    async with staged(key) as stage:
        session = await stage.session(b"--json", window=0)
        for _ in range(SESSION_BACKLOG_BYTES // 60):
            stage.inside.tunnels[0].visited(stage.served())
        session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**30))
        while len(session.said) <= SESSION_BACKLOG_BYTES:
            await stage.settle()
        await stage.settle()
        assert len(session.said) < SESSION_BACKLOG_BYTES + 1000


async def test_a_session_shows_the_last_outcomes_only(start_gateway: Callable[..., Gateway], key: Path) -> None:
    gateway = start_gateway(limits={"global_requests_per_second": 100_000})
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        for number in range(150):
            assert not await client.forward(f"no_{number}".encode(), 80)
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        assert await session.ended() == 1
        assert session.said.count(b"Refused -R") == JOURNAL
        assert b"no_149" in session.said


async def test_words_that_are_refused_while_a_forward_is_decided_refuse_it(
    gateway: Gateway, client: RawClient, name: str
) -> None:
    session = await open_session(client)
    assert session is not None
    client.at_once(
        (MSG_GLOBAL_REQUEST, String(b"tcpip-forward") + Boolean(True) + String(name) + UInt32(80)),
        (MSG_CHANNEL_REQUEST, UInt32(session.number) + String(b"exec") + Boolean(False) + String(b"auth=x")),
    )
    async with asyncio.timeout(SECONDS):
        assert not (await client.answers.get())[0]
    assert await session.ended() == 1
    assert b"This command's forwards are closed." in session.said
    assert not any(name in one["address"] for one in gateway.ask("tunnels"))
    assert await client.forward(f"{name}x".encode(), 80)  # a later one is its own affair
    assert any(f"{name}x" in one["address"] for one in gateway.ask("tunnels"))


async def test_a_line_for_a_session_that_is_closing_ends_nothing_else(client: RawClient, name: str) -> None:
    assert await client.forward(name.encode(), 80)
    session = await open_session(client)
    assert session is not None
    assert await session.ask(b"shell")
    client.at_once(
        (MSG_CHANNEL_CLOSE, UInt32(session.number)),
        (MSG_GLOBAL_REQUEST, String(b"cancel-tcpip-forward") + Boolean(True) + String(name) + UInt32(80)),
    )
    async with asyncio.timeout(SECONDS):
        assert (await client.answers.get())[0]
    assert await client.lives()


async def test_events_during_a_sessions_opening_are_kept_and_end_nothing_else(key: Path) -> None:
    """A request for the number that it is going to have is passed over, for it cannot be answered before the open is."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        assert await client.forward(b"cancelled", 80)
        assert await client.forward(b"stays", 80)
        opened: asyncio.Queue[SSHPacket] = asyncio.Queue()
        client.on(MSG_CHANNEL_OPEN_CONFIRMATION, opened.put_nowait)
        client.at_once(
            (MSG_CHANNEL_OPEN, String(b"session") + UInt32(5000) + UInt32(2**20) + UInt32(32768)),
            *((MSG_CHANNEL_REQUEST, UInt32(n) + String(b"exec") + Boolean(False) + String(b"ls")) for n in range(5)),
            (MSG_GLOBAL_REQUEST, String(b"cancel-tcpip-forward") + Boolean(True) + String(b"cancelled") + UInt32(80)),
        )
        assert (await client.answers.get())[0]
        confirmation = await opened.get()
        assert confirmation.get_uint32() == 5000
        session = Session(client, confirmation.get_uint32(), 5000)
        assert session.number < 5
        assert await session.ask(b"exec", String(b"whoami"))
        assert await session.ended() == 0
        assert session.said.startswith(b"key SHA256:")
        assert len(inside.tunnels) == 1


async def test_forwards_cancelled_beside_a_silent_session_are_not_kept(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOLD_SECONDS", 0.0)
    async with inside_gateway() as inside, inside.client(key) as client, asyncio.timeout(SECONDS):
        assert await open_session(client) is not None
        for _ in range(200):
            assert await client.forward(b"again", 80)
            assert await client.cancel(b"again", 80)
        for _ in range(5):  # the last ones wait for their pause, of no time
            assert await client.lives()
        gc.collect()
        assert sum(isinstance(thing, SshTunnel) for thing in gc.get_objects()) <= JOURNAL + 5


async def test_a_connection_has_ten_sessions_at_once(key: Path) -> None:
    """SESSIONS_PER_CONNECTION: each has a terminal's text and a journal."""
    async with inside_gateway() as inside, inside.client(key) as client:
        opened = [await open_session(client, 6000 + number) for number in range(15)]
        assert [session is not None for session in opened] == [True] * 10 + [False] * 5


@hurried
async def test_an_unreachable_service_is_noted_at_most_once_in_five_seconds(key: Path) -> None:
    """TARGET_NOTE_SECONDS: who visits often must not fill its owner's terminal."""
    async with asyncio.timeout(60), inside_gateway(clock=LoopsClock()) as inside, inside.client(key) as client:
        assert await client.forward(b"refuses", 80)

        def refuse(packet: SSHPacket) -> None:
            packet.get_string()
            code = UInt32(OPEN_CONNECT_FAILED)
            client.send(MSG_CHANNEL_OPEN_FAILURE, UInt32(packet.get_uint32()), code, String(b"no"), String(b""))

        session = await open_session(client)
        assert session is not None
        client.on(MSG_CHANNEL_OPEN, refuse)
        assert await session.ask(b"shell")
        await inside.let_through()
        for number in range(1, 21):
            reader, writer = await asyncio.open_connection("127.0.0.1", inside.http_port)
            writer.write(b"GET / HTTP/1.1\r\nHost: refuses.localhost\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
            writer.close()
            if number % 10 == 0:
                assert await client.lives()
                assert session.said.count(b"your local service cannot be reached") == number // 10
                await asyncio.sleep(6)


async def test_a_long_disconnect_message_is_cut(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        assert await client.forward(b"leaves", 80)
        client.send(MSG_DISCONNECT, UInt32(DISC_PROTOCOL_ERROR), String(b"good" + b"bye" * 10_000), String(b""))
        await until(lambda: inside.said("connection.closed"))
        for told in inside.said("connection.closed") + inside.said("tunnel.closed"):
            assert "goodbye" in told["reason"]
            assert len(told["reason"]) == 200


@pytest.mark.parametrize("packet", [0, 1, 255, 256])
async def test_a_session_that_takes_tiny_packets_only_is_refused_with_the_reason(
    gateway: Gateway, client: RawClient, packet: int
) -> None:
    """LEAST_PACKET_BYTES: 256 KiB of text in packets of one byte stopped the whole gateway for 4 s."""
    refusals: list[SSHPacket] = []
    session = await open_session(client, packet=packet, refused=refusals.append)
    assert (session is not None) == (packet == 256)
    for refusal in refusals:
        assert (refusal.get_uint32(), refusal.get_uint32()) == (5000, OPEN_CONNECT_FAILED)
        assert refusal.get_string() == b"packets must hold 256 bytes at least"
    assert await client.lives()


async def test_a_full_socket_stops_a_session_and_nothing_is_lost(key: Path) -> None:
    """It waits as the streams do, and goes on as they do; its end waits behind its text."""
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        session = await open_session(client, window=0)
        assert session is not None
        assert await session.ask(b"exec", String(b"help"))
        assert await client.lives()
        connection = inside.clients[0].connection
        connection.pause_writing()
        session.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(2**31 - 1))
        assert await client.lives()
        assert (session.said, session.closed) == (b"", False)
        connection.resume_writing()
        assert await session.ended() == 0
        assert await client.lives()
        assert session.said.startswith(b"A web address")
        assert session.closed


async def test_a_session_that_is_closed_while_it_waits_sends_nothing_more(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as inside, inside.client(key) as client:
        waiting, beside = await open_session(client, 5000), await open_session(client, 5001)
        assert waiting is not None
        assert beside is not None
        connection = inside.clients[0].connection
        connection.pause_writing()
        assert await waiting.ask(b"exec", String(b"help"))
        assert await beside.ask(b"exec", String(b"help"))
        assert await client.lives()
        waiting.send(MSG_CHANNEL_CLOSE)
        assert await client.lives()
        connection.resume_writing()
        assert await beside.ended() == 0
        assert await client.lives()
        assert (waiting.said, waiting.closed) == (b"", True)
        assert beside.said


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed is freed by reference counts. An idle gateway makes so little that Python collects nothing."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("terminal", [False, True])
async def test_a_session_is_freed_with_its_connection_without_the_collector(key: Path, *, terminal: bool) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as inside:
        async with inside.client(key) as client:
            assert await client.forward(b"freed", 80)
            session = await open_session(client, window=0)
            assert session is not None
            if terminal:
                assert await session.ask(b"pty-req", *pty_request())
            assert await session.ask(b"shell")
            if terminal:
                session.send(MSG_CHANNEL_DATA, String(ANSWER))
                await inside.tick()
                assert await client.lives()
            shown = weakref.ref(next(iter(inside.clients[0].sessions)))
            assert shown() is not None
        await until(lambda: shown() is None)
