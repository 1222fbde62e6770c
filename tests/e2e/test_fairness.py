"""A bulk stream does not keep a small answer of another stream of the same connection waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway_process import Gateway
from greedy_client import MIB, Swallow, greedy, pouring, settled

AHEAD = 256 * 1024
"""Bytes of one stream that may precede what another one has queued."""
RECEIVE_BUFFER = 64 * 1024
IN_FLIGHT = 4 * RECEIVE_BUFFER
"""What may have left the gateway before the small answer came: the kernel doubles the buffer, and the client reads on."""
BULK = 64 * MIB


async def test_at_most_256_kib_of_a_bulk_stream_precede_a_small_one(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path]
) -> None:
    gateway = start_gateway()
    bulk_port, small_port = next(gateway.loopback_ports), next(gateway.loopback_ports)
    async with greedy(gateway, new_key(), bulk_port, small_port, receive_buffer=RECEIVE_BUFFER) as client:
        bulk, small = Swallow(BULK), Swallow(1)
        client.targets = {bulk_port: bulk, small_port: small}
        reader, writer = await asyncio.open_connection("127.0.0.1", small_port)
        writer.write(b"1")
        await small.complete.wait()  # the small stream is open
        transport: Any = client._transport
        transport.pause_reading()
        async with pouring(bulk_port, bytes(BULK)):
            await settled(gateway)
            small.expected = 2
            small.complete.clear()
            writer.write(b"2")
            for _ in range(3):  # each answer is a turn of the gateway's loop: it has read the small byte by then
                await asyncio.to_thread(gateway.ask, "status")
            before = bulk.got
            transport.resume_reading()
            async with asyncio.timeout(60):
                await small.complete.wait()
            assert bulk.got - before <= AHEAD + IN_FLIGHT
            assert bulk.got < BULK
        writer.transport.abort()
        await asyncio.wait([asyncio.create_task(writer.wait_closed())])
        del reader
