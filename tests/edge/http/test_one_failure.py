"""An error of one local service ends its own stream. Other tunnels of the same SSH connection go on."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from asyncssh.constants import MSG_CHANNEL_CLOSE, MSG_CHANNEL_EOF, MSG_CHANNEL_OPEN_CONFIRMATION
from asyncssh.packet import UInt32

from inside_gateway import SECONDS, inside_gateway
from ssh.alias_pair import Side

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"8000\r\n" + bytes(0x8000) + b"\r\n"
GET = b"GET / HTTP/1.1\r\nHost: faulty.localhost\r\n\r\n"


async def test_an_invalid_held_answer_ends_only_its_stream(key: Path) -> None:
    """The visitor does not read, so that pieces are held; the first of them is no chunk, and more follow it."""
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        client.hold_opens()
        assert await client.forward(b"faulty", 80)
        with socket.socket() as visitor:
            visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            visitor.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(visitor, ("127.0.0.1", gateway.http_port))
            await loop.sock_sendall(visitor, GET)
            number, rest = await client.opens.get()
            service = Side(client, 1000, number, int.from_bytes(rest[:4], "big"))
            client.connection._channels[service.ours] = service
            service.say(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(service.ours), UInt32(2**20), UInt32(2**15))
            service.data(HEAD)
            while service.credit > 4 * len(CHUNK):  # less than half a window is left: the rest is held, not taken
                service.data(CHUNK)
                assert await client.lives()
            for _ in range(3):
                service.data(b"nonsense" * 1000)
            service.say(MSG_CHANNEL_EOF)
            service.say(MSG_CHANNEL_CLOSE)
            assert await client.lives()
            await service.until("close")
            assert gateway.tunnels
