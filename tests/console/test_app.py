"""The API's own answers, through the control socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferry.console.server import serving
from ferry.console.sockets import CONTROL_SOCKET
from ferry.observe.events import EventRing
from small_gateway import SmallGateway


async def get(folder: Path, path: str) -> bytes:
    """The whole answer, up to its end."""
    reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL_SOCKET))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("asked", "status"), [("", b"200"), ("?last=3", b"200"), ("?follow=false", b"200"), ("?follow=true", b"403")]
)
async def test_who_only_looks_at_what_was_takes_no_followers_place(tmp_path: Path, asked: str, status: bytes) -> None:
    gateway = SmallGateway(events=EventRing(subscribers=0))
    gateway.events.add(0, 20, "tunnel.opened", {})
    async with serving(gateway, tmp_path / "state", []):
        answer = await get(tmp_path / "state", f"/api/v1/events{asked}")
    assert answer.split()[1] == status
    assert (b"tunnel.opened" in answer) is (status == b"200")
