"""Odd input on an SSH connection gets a failure reply, and the connection with its tunnels lives."""

from __future__ import annotations

import asyncio

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
)
from asyncssh.packet import Boolean, String, UInt32

from raw_client import RawClient


@pytest.mark.parametrize(
    ("host", "port"),
    [
        (b"\xff\xfe", 80),
        (b"\xc3\x28name", 80),
        ("bücher".encode(), 80),
        (b"x" * 513, 80),
        (b"x" * 60_000, 80),
        (b"blog", 70_000),
        (b"", 0xFFFFFFFF),
        (b"localhost", 65_536),
        (b"a\x00b", 80),
        (b"\x1b[2J", 80),
        (b"blog\r\nHost: other", 80),
        (b".", 80),
        (b"..", 22),
    ],
)
async def test_a_forward_that_cannot_be_is_refused(client: RawClient, name: str, host: bytes, port: int) -> None:
    assert await client.forward(name.encode(), 80)
    assert not await client.forward(host, port)
    assert not await client.cancel(host, port)
    assert await client.lives()
    assert await client.cancel(name.encode(), 80)


async def test_a_cancel_for_an_unknown_forward_is_refused(client: RawClient) -> None:
    assert not await client.cancel(b"never-asked", 80)
    assert await client.lives()


async def test_a_forward_is_cancelled_once(client: RawClient, name: str) -> None:
    assert await client.forward(name.encode(), 80)
    assert [await client.cancel(name.encode(), 80) for _ in range(2)] == [True, False]


async def test_an_unknown_request_is_refused_and_one_without_reply_is_not_answered(client: RawClient) -> None:
    assert await client.ask(b"no-such-request@test") == (False, b"")
    client.send(80, String(b"no-such-request@test"), Boolean(False))
    assert await client.lives()
    assert client.answers.empty()


@pytest.mark.parametrize("message", [MSG_REQUEST_SUCCESS, MSG_REQUEST_FAILURE])
async def test_an_unexpected_answer_is_ignored(client: RawClient, message: int) -> None:
    for _ in range(3):
        client.send(message)
    assert await client.lives()


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (MSG_CHANNEL_WINDOW_ADJUST, (UInt32(100),)),
        (MSG_CHANNEL_DATA, (String(b"data"),)),
        (MSG_CHANNEL_EOF, ()),
        (MSG_CHANNEL_CLOSE, ()),
        (MSG_CHANNEL_REQUEST, (String(b"env"), Boolean(True))),
    ],
)
async def test_a_message_for_an_unknown_channel_is_ignored(
    client: RawClient, message: int, parts: tuple[bytes, ...]
) -> None:
    client.send(message, UInt32(4711), *parts)
    assert await client.lives()


async def test_answers_to_opens_that_were_never_sent_end_the_connection(client: RawClient) -> None:
    """As in OpenSSH: no race makes one, and a channel that opens twice has no meaning."""
    client.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(4711), UInt32(0), UInt32(1000), UInt32(1000))
    assert "Invalid channel number" in await client.said_at_the_end()


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        (b"no-such-channel", b""),
        (b"tun@openssh.com", UInt32(1) + UInt32(0x7FFFFFFF)),
        (b"direct-streamlocal@openssh.com", String(b"/run/secret") + String(b"") + UInt32(0)),
        (b"direct-tcpip", String(b"\xff\xfe") + UInt32(22) + String(b"") + UInt32(0)),
        (b"direct-tcpip", String(b"x" * 60_000) + UInt32(70_000) + String(b"") + UInt32(0)),
        (b"forwarded-tcpip", String(b"localhost") + UInt32(80) + String(b"") + UInt32(0)),
        (b"x11", String(b"") + UInt32(0)),
    ],
)
async def test_a_channel_that_is_not_offered_is_refused(client: RawClient, kind: bytes, rest: bytes) -> None:
    refused: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    client.on(MSG_CHANNEL_OPEN_FAILURE, lambda packet: refused.set_result(packet.get_uint32()))
    client.send(MSG_CHANNEL_OPEN, String(kind), UInt32(77), UInt32(1000), UInt32(1000), rest)
    async with asyncio.timeout(20):
        assert await refused == 77
    assert await client.lives()


async def test_socket_paths_are_refused(client: RawClient) -> None:
    assert not (await client.ask(b"streamlocal-forward@openssh.com", String(b"/tmp/x")))[0]
    assert not (await client.ask(b"cancel-streamlocal-forward@openssh.com", String(b"/tmp/x")))[0]
    assert await client.lives()
