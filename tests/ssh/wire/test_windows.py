"""The windows of a client's channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from asyncssh.constants import MSG_CHANNEL_OPEN_CONFIRMATION
from asyncssh.packet import UInt32

from ferry import limits
from ferry.names import Endpoint
from granted import to_visit
from inside_gateway import SECONDS, inside_gateway

CHANNEL_WINDOW_BYTES = 768 * 1024
NEAR_WINDOW_BYTES = 256 * 1024
WINDOWS_BYTES = 8 * 2**20
LEAST_WINDOW_BYTES = 8 * 1024


@pytest.mark.parametrize(
    ("near", "answers_after", "window"),
    [(None, 0.05, CHANNEL_WINDOW_BYTES), (60.0, 0.0, NEAR_WINDOW_BYTES)],
    ids=["NEAR_SECONDS as shipped", "near"],
)
async def test_a_near_client_gets_small_windows(
    new_key: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
    near: float | None,
    answers_after: float,
    window: int,
) -> None:
    if near is not None:
        monkeypatch.setattr(limits, "NEAR_SECONDS", near)
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(new_key()) as client:
        assert await client.forward(b"near", 80)
        tunnel = await gateway.let_through()
        client.hold_opens()
        windows = []
        for number in range(2):
            tunnel.dial(to_visit(tunnel), Endpoint("192.0.2.1", 4711), cast(Any, _Sink()))
            theirs, rest = await client.opens.get()
            windows.append(int.from_bytes(rest[:4], "big"))
            ours = UInt32(1000 + number)
            await asyncio.sleep(answers_after)
            client.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(theirs), ours, UInt32(1000), UInt32(1000))
            assert await client.lives()
    assert windows == [CHANNEL_WINDOW_BYTES, window]


async def test_all_windows_of_a_connection_have_a_bound(new_key: Callable[[], Path]) -> None:
    """The more channels there are, the smaller is the window of the next, down to a least one."""
    many: dict[str, object] = {"channels_per_connection": 1_200}
    async with asyncio.timeout(SECONDS), inside_gateway(limits=many) as gateway, gateway.client(new_key()) as client:
        assert await client.forward(b"many", 80)
        tunnel = await gateway.let_through()
        client.hold_opens()
        for number in range(1, 1_101):
            tunnel.dial(to_visit(tunnel), Endpoint("192.0.2.1", 4711), cast(Any, _Sink()))
            _, rest = await client.opens.get()
            fair = max(WINDOWS_BYTES // number, LEAST_WINDOW_BYTES)
            assert int.from_bytes(rest[:4], "big") == min(fair, CHANNEL_WINDOW_BYTES)
    assert 1000 * LEAST_WINDOW_BYTES <= 8 * limits.MIB


class _Sink:
    def stream_opened(self) -> None:
        """As it should be."""

    def stream_lost(self, error: Exception | None) -> None:
        """At the end."""
