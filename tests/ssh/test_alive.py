"""Signs of life of a client: an answer or moving bytes. A client that has left gives none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncssh.constants import MSG_DEBUG, MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String

from ferry.ssh.wire.connection import HardenedConnection
from inside_gateway import SECONDS, inside_gateway
from raw_client import RawClient

LONG = 10.0 * SECONDS


@asynccontextmanager
async def on_stage(key: Path) -> AsyncIterator[tuple[HardenedConnection, RawClient, asyncio.Event]]:
    """A client that never answers, as the gateway sees it, and an event that says that it was asked."""
    asked = asyncio.Event()
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        client.on(MSG_GLOBAL_REQUEST, lambda _packet: asked.set())
        yield gateway.clients[0].connection, client, asked


async def test_a_client_that_answers_is_alive_at_once(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key):
        assert await gateway.clients[0].connection.alive_within(LONG)


async def test_a_client_that_neither_answers_nor_moves_is_not_alive(key: Path) -> None:
    async with on_stage(key) as (connection, _, _):
        assert not await connection.alive_within(0.02)


async def test_a_client_that_moves_without_an_answer_is_alive(key: Path) -> None:
    """All the time, so that the second half of it is met however slow the machine is."""
    async with on_stage(key) as (connection, client, asked):
        looking = asyncio.ensure_future(connection.alive_within(0.2))
        await asked.wait()
        while not looking.done():
            client.send(MSG_DEBUG, Boolean(False), String(b"busy"), String(b""))
            await asyncio.sleep(0.001)
        assert await looking


async def test_a_client_that_leaves_meanwhile_is_not_alive(key: Path) -> None:
    async with on_stage(key) as (connection, client, asked):
        looking = asyncio.ensure_future(connection.alive_within(LONG))
        await asked.wait()
        client.connection.abort()
        assert not await looking


async def test_a_client_that_has_left_is_not_alive_and_not_waited_for(key: Path) -> None:
    async with on_stage(key) as (connection, client, _):
        client.connection.abort()
        await connection.wait_closed()
        assert connection.ping().cancelled()
        assert not await connection.alive_within(LONG)
