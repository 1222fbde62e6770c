"""The channels that a client may open, and their bound together with those of visitors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from asyncssh.constants import (
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_FAILURE,
    OPEN_CONNECT_FAILED,
    OPEN_RESOURCE_SHORTAGE,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)
from asyncssh.packet import SSHPacket, String, UInt32

from ferry.names import Endpoint
from ferry.streams import OpenFailure
from granted import to_visit
from inside_gateway import SECONDS, inside_gateway
from raw_client import RawClient
from raw_session import open_session
from ssh.wire.test_tunnel_channel import Told
from turns import until


async def refusal(client: RawClient, kind: bytes, *, packet: int = 1000, rest: bytes = b"") -> tuple[int, int]:
    """Which of the client's channels is refused, and why."""
    told: asyncio.Queue[tuple[int, int]] = asyncio.Queue()

    def refused(answer: SSHPacket) -> None:
        told.put_nowait((answer.get_uint32(), answer.get_uint32()))

    client.on(MSG_CHANNEL_OPEN_FAILURE, refused)
    client.send(MSG_CHANNEL_OPEN, String(kind), UInt32(77), UInt32(1000), UInt32(packet), rest)
    async with asyncio.timeout(SECONDS / 2):
        return await told.get()


@pytest.mark.parametrize(
    ("kind", "packet", "why"),
    [
        (b"no-such-channel", 1000, OPEN_UNKNOWN_CHANNEL_TYPE),
        (b"forwarded-tcpip", 1000, OPEN_UNKNOWN_CHANNEL_TYPE),
        (b"", 0, OPEN_UNKNOWN_CHANNEL_TYPE),
        (b"session", 0, OPEN_CONNECT_FAILED),
        (b"direct-tcpip", 0, OPEN_CONNECT_FAILED),
    ],
)
async def test_unknown_channel_types_and_tiny_packets_are_refused(
    key: Path, kind: bytes, packet: int, why: int
) -> None:
    async with inside_gateway() as gateway, gateway.client(key) as client:
        assert await refusal(client, kind, packet=packet) == (77, why)
        assert await client.lives()


async def test_channels_opened_by_both_sides_share_one_bound(key: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(limits={"channels_per_connection": 3}) as gateway,
        gateway.client(key) as client,
    ):
        assert await client.forward(b"few", 80)
        tunnel = await gateway.let_through()
        client.hold_opens()
        visitors = [Told() for _ in range(3)]
        for number, sink in enumerate(visitors):
            tunnel.dial(to_visit(tunnel), Endpoint("192.0.2.1", 4711), cast(Any, sink))
            if number == 0:
                assert await open_session(client, mine=5000) is not None
        await until(lambda: visitors[2].heard)
        assert [sink.news() for sink in visitors] == [[], [], [("stream_refused", OpenFailure.LIMIT)]]
        assert tunnel.streams == 2
        assert await refusal(client, b"session") == (77, OPEN_RESOURCE_SHORTAGE)
        assert await client.lives()
