"""Visitors wait until the owner's words are known: a tunnel is never more open than its owner asked."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from asyncssh.constants import MSG_CHANNEL_OPEN, MSG_CHANNEL_OPEN_CONFIRMATION, MSG_CHANNEL_REQUEST, MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from gateway_process import Gateway
from raw_client import SECONDS, RawClient, raw_client

HOLD_SECONDS = 0.5


async def visitor(gateway: Gateway, name: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.ports.http)
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}.localhost\r\n\r\n".encode())
    return writer


def never_answer_requests(client: RawClient) -> None:
    client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)


async def test_a_client_that_answers_and_opens_no_session_gets_visitors_at_once(
    gateway: Gateway, key: Path, name: str
) -> None:
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        client.hold_opens()
        assert await client.forward(name.encode(), 80)
        began = time.monotonic()
        writer = await visitor(gateway, name)
        await client.opens.get()
        assert time.monotonic() - began < HOLD_SECONDS * 0.8
        writer.close()


async def test_a_client_that_does_not_answer_gets_them_after_the_cap(gateway: Gateway, key: Path, name: str) -> None:
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        client.hold_opens()
        never_answer_requests(client)
        began = time.monotonic()
        assert await client.forward(name.encode(), 80)
        writer = await visitor(gateway, name)
        await client.opens.get()
        assert time.monotonic() - began >= HOLD_SECONDS * 0.9
        writer.close()


async def test_an_open_session_holds_them_until_its_words_come(gateway: Gateway, key: Path, name: str) -> None:
    async with raw_client(gateway, key) as client, asyncio.timeout(SECONDS):
        client.hold_opens()
        opened: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def confirmed(packet: SSHPacket) -> None:
            packet.get_uint32()
            opened.set_result(packet.get_uint32())

        client.on(MSG_CHANNEL_OPEN_CONFIRMATION, confirmed)
        client.send(MSG_CHANNEL_OPEN, String(b"session"), UInt32(5), UInt32(100_000), UInt32(1000))
        number = await opened
        assert await client.forward(name.encode(), 80)
        writer = await visitor(gateway, name)
        assert await client.lives()
        assert client.opens.empty()  # its answer to the keepalive came first, and lets nobody through
        client.send(MSG_CHANNEL_REQUEST, UInt32(number), String(b"exec"), Boolean(False), String(b"auth=me:secret"))
        assert await client.lives()
        await asyncio.sleep(HOLD_SECONDS * 1.2)  # past the cap too: a refused word closes, it does not delay
        assert client.opens.empty()
        writer.close()
