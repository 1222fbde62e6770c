"""A visitor is bounded like any other while its tunnel is held, and while its client does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from asyncssh.constants import MSG_CHANNEL_OPEN_CONFIRMATION, MSG_CHANNEL_WINDOW_ADJUST, MSG_GLOBAL_REQUEST
from asyncssh.packet import UInt32

from gateway_process import Gateway
from greedy_client import MIB, pouring, settled
from raw_client import SECONDS, raw_client

POURED = bytes(24 * MIB)
EACH = MIB
"""What a visitor may cost."""
SLACK = 2 * MIB


async def test_a_visitor_that_floods_a_held_tunnel_costs_a_mebibyte(
    start_gateway: Callable[..., Gateway], key: Path
) -> None:
    """Of four opens one gets no answer, one no window, and two their window byte by byte."""
    gateway = start_gateway()
    port = next(gateway.loopback_ports)
    async with raw_client(gateway, key) as client, AsyncExitStack() as visitors, asyncio.timeout(SECONDS * 2):
        client.hold_opens()
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: None)  # no keepalive is answered: visitors are held for the cap
        assert await client.forward(b"localhost", port)
        before = gateway.memory()
        for _ in range(4):
            await visitors.enter_async_context(pouring(port, POURED))
        numbers = [(await client.opens.get())[0] for _ in range(4)]  # the hold is over
        for number in numbers[1:]:
            ours, window = UInt32(1000 + number), UInt32(0)
            client.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(number), ours, window, UInt32(32_768))
        for number in numbers[2:] * 50:
            client.send(MSG_CHANNEL_WINDOW_ADJUST, UInt32(number), UInt32(1))
        assert await client.lives()
        await settled(gateway)
        assert gateway.memory() - before <= 4 * EACH + SLACK
