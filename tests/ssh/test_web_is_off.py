"""A gateway without HTTP and HTTPS: what becomes of web forwards, and what their owners read."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from asyncssh.packet import String

from ferry.hostnames import Domain, Urls
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient
from raw_session import open_session
from ssh.forward_stage import refusals

OFF = Urls(Domain("localhost"), 2222, None, None, lambda _: False)


def turn_off(gateway: Inside) -> None:
    gateway.change(serves_web=False, urls=OFF)


async def run(client: RawClient, words: str) -> tuple[int, list[str]]:
    session = await open_session(client)
    assert session is not None
    assert await session.ask(b"exec", String(words))
    status = await session.ended()
    return status, session.said.decode().splitlines()


@pytest.mark.parametrize("host", [b"blog", b""])
async def test_a_web_forward_is_refused_with_the_kinds_that_work(key: Path, host: bytes) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        turn_off(gateway)
        assert not await client.forward(host, 80)
        assert refusals(gateway) == ["web_off"]
        status, lines = await run(client, "--output json")
        assert status == 1
        (refused,) = [json.loads(line) for line in lines]
        assert (refused["event"], refused["status"], refused["code"]) == ("forward", "refused", "web_off")
        assert refused["message"].startswith("HTTP and HTTPS are off on this gateway")
        assert await client.forward(b"laptop", 22)


async def test_a_web_forward_from_before_the_reload_is_still_listed(key: Path) -> None:
    """`ssh gw ls --output json` waited for ever."""
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        assert await client.forward(b"blog", 80)
        turn_off(gateway)
        status, lines = await run(client, "ls --output json")
        assert status == 0
        (tunnel,) = [json.loads(line) for line in lines]
        assert (tunnel["address"], tunnel["urls"]) == ("blog.localhost", [])
        assert tunnel["message"] == "HTTP and HTTPS are off on this gateway: nobody reaches blog.localhost"


async def test_help_tells_of_no_web_addresses(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        assert "A web address for a local service:" in (await run(client, "help"))[1]
        turn_off(gateway)
        status, lines = await run(client, "help")
        assert status == 0
        assert lines[0].startswith("A TCP port")
