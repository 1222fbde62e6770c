"""A bulk stream does not keep a small answer of another stream of the same connection waiting."""

from __future__ import annotations

import asyncio
import fcntl
import termios
from array import array
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gateway_process import Gateway
from greedy_client import MIB, Swallow, greedy, pouring, settled

AHEAD = 256 * 1024
"""Bytes of a bulk stream that may precede a small answer: UNSENT_BYTES in the kernel, what the loop buffers, one batch and
one packet. It is 160 to 190 KiB as a rule, and megabytes where the kernel or the stream takes all it can."""
RECEIVE_BUFFER = 64 * 1024
BULKS = 1
BULK = 16 * MIB


def unread(transport: Any) -> int:
    """Bytes that have left the gateway, and lie in the client's kernel."""
    count = array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    return count[0]


async def test_at_most_256_kib_of_a_bulk_stream_precede_a_small_one(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path]
) -> None:
    gateway = start_gateway()
    small_port, *bulk_ports = (next(gateway.loopback_ports) for _ in range(1 + BULKS))
    async with (
        greedy(gateway, new_key(), small_port, *bulk_ports, receive_buffer=RECEIVE_BUFFER) as client,
        AsyncExitStack() as visitors,
    ):
        small, bulks = Swallow(1), [Swallow(1) for _ in bulk_ports]
        client.targets = {small_port: small, **dict(zip(bulk_ports, bulks, strict=True))}
        _, writer = await asyncio.open_connection("127.0.0.1", small_port)
        writer.write(b"1")
        await small.complete.wait()  # the small stream is open
        for port in bulk_ports:
            await visitors.enter_async_context(pouring(port, bytes(BULK)))
        async with asyncio.timeout(60):
            for bulk in bulks:
                await (
                    bulk.complete.wait()
                )  # and so are the others: what follows waits for the socket, not for an answer
        transport: Any = client._transport
        transport.pause_reading()
        await settled(gateway)
        small.expected = 2
        small.complete.clear()
        writer.write(b"2")
        for _ in range(3):  # each answer is a turn of the gateway's loop: it has read the small byte by then
            await asyncio.to_thread(gateway.ask, "status")
        before = sum(bulk.got for bulk in bulks) + unread(transport)
        transport.resume_reading()
        async with asyncio.timeout(60):
            await small.complete.wait()
        ahead = sum(bulk.got for bulk in bulks) - before
        assert all(bulk.got < BULK for bulk in bulks)
        assert 0 < ahead <= AHEAD
        writer.transport.abort()
        await asyncio.wait([asyncio.create_task(writer.wait_closed())])
