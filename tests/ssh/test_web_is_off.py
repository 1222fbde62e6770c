"""Web forwards on a gateway without HTTP and HTTPS, and the texts for their owners."""

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


@pytest.mark.parametrize("host", [b"blog", b"", b"me:pw@blog", b"*.blog", b"blog.example.org", b"blog_1", b"blog/a"])
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


@pytest.mark.parametrize("ports", [True, False])
async def test_only_forwards_that_work_are_suggested(key: Path, *, ports: bool) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        turn_off(gateway)
        if not ports:
            gateway.change(allocate_from=None)
        example = "0:localhost:5432" if ports else "laptop:22:localhost:22"
        _, lines = await run(client, "ls")
        assert lines == [f"no tunnels of yours are up: ssh -R {example} -p 2222 localhost"]
        session = await open_session(client)
        assert session is not None
        assert await session.ask(b"shell")
        await session.ended()
        assert f"To forward: ssh -R {example} -p 2222 localhost".encode() in session.said
        for host, port in ((b"", 22), (b"blog", 80), (b"blog", 0), (b"", 0)):
            assert await client.forward(host, port) is (ports and (host, port) == (b"", 0))
        texts = [fields["detail"] for fields in gateway.said("tunnel.refused")]
        assert len(texts) == 3 + (not ports)
        assert not any("web address:" in text or ":80" in text for text in texts)
        assert all(("-R 0:" in text) is ports for text in texts)
