"""The slow lane of a blocked address: one slot, for a short time."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from ferry import limits
from ferry.limiters.penalties import Offence, Penalties
from ferry.limiters.sources import ExemptNetworks
from inside_gateway import SECONDS, inside_gateway

HERE = "127.0.0.1"


async def test_a_silent_client_in_the_slow_lane_makes_room_for_a_known_key(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LANE_PACE_SECONDS", 0.0)
    monkeypatch.setattr(limits, "LANE_SECONDS", 0.1)
    penalties = Penalties(ExemptNetworks([]))
    async with asyncio.timeout(SECONDS), inside_gateway(penalties=penalties) as gateway:
        while not penalties.blocked(HERE, time.monotonic()):
            penalties.add_offence(HERE, Offence.GARBAGE, time.monotonic())
        reader, writer = await asyncio.open_connection(HERE, gateway.ssh_port)
        assert b"your address is blocked, so a log-in may take" in await reader.read()
        writer.close()
        monkeypatch.setattr(limits, "LANE_SECONDS", 2.0 * SECONDS)
        async with gateway.client(key) as client:
            assert await client.lives()
        assert [one["outcome"] for one in gateway.said("handshake.ended")] == ["timeout", "ok"]
