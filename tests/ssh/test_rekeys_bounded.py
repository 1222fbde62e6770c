"""A client that has logged in exchanges keys again and again: each exchange costs the gateway what a log-in costs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import String

from gateway_process import Gateway
from raw_client import SECONDS, raw_client


async def test_who_exchanges_keys_without_moving_anything_is_ended_and_told_why(gateway: Gateway, key: Path) -> None:
    async with raw_client(gateway, key, rekey_bytes=1) as client, raw_client(gateway, key) as other:
        async with asyncio.timeout(SECONDS):
            while not client.connection.is_closed():
                client.send(MSG_IGNORE, String(b""))  # an exchange follows each packet
                await asyncio.sleep(0.005)
        assert await client.said_at_the_end() == "keys were exchanged too often: set no RekeyLimit below 256K"
        assert await other.lives()
