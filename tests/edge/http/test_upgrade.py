"""WebSocket and other protocols that begin as HTTP/1.1."""

from __future__ import annotations

import asyncio

import pytest
import websockets.asyncio.client
import websockets.asyncio.server

from edge.http_rig import answering, running_edge, service
from ferry.edge.http.shared import Bounds
from resets import reset

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


async def test_websocket_with_large_messages_both_ways() -> None:
    async def echo(socket: websockets.asyncio.server.ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async with (
        websockets.asyncio.server.serve(echo, "127.0.0.1", 0, max_size=2**23) as server,
        running_edge(next(iter(server.sockets)).getsockname()[1]) as rig,
    ):
        uri = f"ws://a.localhost:{rig.port}/chat?room=1"
        async with websockets.asyncio.client.connect(
            uri, host="127.0.0.1", max_size=2**23, proxy=None, compression=None
        ) as visitor:
            for message in ("hello", b"\x00" * 2**22, "bye"):
                await visitor.send(message)
                assert await visitor.recv() == message
            address = visitor.local_address
        await rig.visit()
        assert rig.tunnel.visits[0].status == 101
        assert rig.tunnel.visits[0].down > 2**22 < rig.tunnel.visits[0].up
        # the client is told who the visitor is, and the stream is not pooled
        assert [(o.host, o.port) for o in rig.tunnel.dialled] == [tuple(address[:2])]
        assert rig.edge.idle_streams == 0
        await rig.tunnel.quiet()


@pytest.mark.parametrize("first", ["visitor", "service"])
async def test_half_close_both_ways(first: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING + b"early")
        if first == "service":
            writer.write(b"last words")
            writer.write_eof()
            got.append(await reader.read())
        else:
            got.append(await reader.read())
            writer.write(b"last words")

    got: list[bytes] = []
    async with service(handle) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(UPGRADE + b"ahead")
        assert await reader.readuntil(b"\r\n\r\n") == SWITCHING
        if first == "service":
            assert await reader.read() == b"earlylast words"
            writer.write(b" and more")
        writer.write_eof()
        rest = await reader.read()
        await rig.visit()
        await rig.tunnel.quiet()
    assert (rest, got) == ((b"", [b"ahead and more"]) if first == "service" else (b"earlylast words", [b"ahead"]))


async def test_a_half_closed_upgraded_visitor_may_wait_for_long() -> None:
    """Half a close is a thing of its own there; of a request it is not known whether anybody still listens."""
    quiet = 0.1

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        await reader.read()
        for word in (b"one", b"two"):
            writer.write(word)
            await asyncio.sleep(5 * quiet)
        writer.close()

    bounds = Bounds(half_closed_seconds=quiet, tick_seconds=0.02)
    async with service(handle) as port, running_edge(port, bounds=bounds) as rig:
        reader, writer = await rig.connect()
        writer.write(UPGRADE)
        assert await reader.readuntil(b"\r\n\r\n") == SWITCHING
        writer.write_eof()
        assert await reader.read() == b"onetwo"


async def test_refused_upgrade_is_an_ordinary_answer() -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    async with service(answering(answer)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(UPGRADE)
            assert await reader.readexactly(len(answer)) == answer
        writer.close()
        assert rig.edge.idle_streams == 0
        # With bytes of the other protocol behind it, nobody knows where the next request begins.
        got = await rig.talk(UPGRADE + b"\x81\x85rest")
        assert got == answer.replace(b"\r\n\r\nno", b"\r\nConnection: close\r\n\r\nno")


@pytest.mark.parametrize(
    "answer",
    [
        SWITCHING.replace(b"echo", b"other"),
        SWITCHING.replace(b"Upgrade: echo\r\n", b""),
        SWITCHING.replace(b"echo", b","),
    ],
    ids=["another protocol", "none named", "an empty list"],
)
async def test_an_unrequested_101_becomes_502(answer: bytes) -> None:
    async with service(answering(answer)) as port, running_edge(port) as rig:
        got = await rig.talk(UPGRADE)
        assert got.startswith(b"HTTP/1.1 502 ")
        got = await rig.talk(UPGRADE.replace(b"Connection: Upgrade\r\nUpgrade: echo\r\n", b""), eof=True)
        assert got.startswith(b"HTTP/1.1 502 ")
        await rig.tunnel.quiet()


async def test_reset_reaches_the_other_side() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHING)
        await reader.readexactly(1)
        reset(writer)

    async with service(handle) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"x")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await rig.visit()
        await rig.tunnel.quiet()
