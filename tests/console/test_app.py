"""The API's own answers, through the control socket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ferry.console.models import PortInfo
from ferry.console.server import serving
from ferry.console.sockets import CONTROL_SOCKET
from ferry.names import Address, ConnectionId, IdentityId, TunnelId
from ferry.observe.events import EventRing
from ferry.protocol.audit import Entry, Wanted
from no_audit import NoAudit
from small_gateway import SmallGateway


async def get(folder: Path, path: str, method: str = "GET") -> bytes:
    """The whole answer, up to its end."""
    reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL_SOCKET))
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("asked", "status"), [("", b"200"), ("?last=3", b"200"), ("?follow=false", b"200"), ("?follow=true", b"403")]
)
async def test_reading_past_events_takes_no_subscription(tmp_path: Path, asked: str, status: bytes) -> None:
    gateway = SmallGateway(events=EventRing(subscribers=0))
    gateway.events.add(0, 20, "tunnel.opened", {})
    async with serving(gateway, tmp_path / "state", []):
        answer = await get(tmp_path / "state", f"/api/v1/events{asked}")
    assert answer.split()[1] == status
    assert (b"tunnel.opened" in answer) is (status == b"200")


async def test_a_follower_gets_each_event_once_and_is_told_what_it_missed(tmp_path: Path) -> None:
    gateway = SmallGateway(events=EventRing(queue=2))
    gateway.events.add(0, 20, "past", {})
    async with serving(gateway, tmp_path / "state", []), asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "state" / CONTROL_SOCKET))
        writer.write(b"GET /api/v1/events?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = await reader.readuntil(b'"past"')
        for number in range(5):
            gateway.events.add(0, 20, f"event{number}", {})
        got += await reader.readuntil(b'"event4"')
        writer.close()
    assert [got.count(f'"{name}"'.encode()) for name in ("past", "events.dropped", "event2", "event3")] == [1, 1, 0, 1]
    assert b'"count": 3' in got


class QuietAudit(NoAudit):
    """Nothing happens while it is followed."""

    async def follow(self, _wanted: Wanted, _after: int) -> AsyncIterator[Entry]:
        await asyncio.Event().wait()
        for entry in list[Entry]():
            yield entry


async def test_eight_readers_follow_the_audit_log_at_once(tmp_path: Path) -> None:
    """AUDIT_FOLLOWERS. One that leaves makes room, and past records are for everybody."""
    folder = tmp_path / "state"

    async def follow() -> tuple[bytes, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(str(folder / CONTROL_SOCKET))
        writer.write(b"GET /api/v1/audit?follow=true HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return (await reader.readline()).split()[1], writer

    async with serving(SmallGateway(audit=QuietAudit()), folder, []), asyncio.timeout(10):
        answers = [await follow() for _ in range(9)]
        assert [status for status, _ in answers] == [b"200"] * 8 + [b"403"]
        refused = await get(folder, "/api/v1/audit?follow=true")
        assert b"8 readers follow the audit log already: end one of them" in refused
        assert (await get(folder, "/api/v1/audit")).split()[1] == b"200"
        answers[0][1].close()
        while (answer := await follow())[0] == b"403":  # until the gateway has seen it leave
            answer[1].close()
        assert answer[0] == b"200"
        for _, writer in (*answers, answer):
            writer.close()


async def test_a_request_that_changes_something_is_reported_with_its_user_and_one_that_reads_is_not(
    tmp_path: Path,
) -> None:
    gateway, user = SmallGateway(), f"uid {os.getuid()}"
    async with serving(gateway, tmp_path / "state", []):
        for method in ("GET", "HEAD", "OPTIONS"):
            await get(tmp_path / "state", "/api/v1/status", method)
        assert gateway.acts == []
        for path in ("tunnels/blog", "connections/x", "status"):
            await get(tmp_path / "state", f"/api/v1/{path}", "DELETE")
    assert gateway.acts == [
        {"act": "close tunnel blog", "by": user, "done": True},
        {"act": "close connection x", "by": user, "done": False, "detail": "status 404"},
        {"act": "DELETE /api/v1/status", "by": user, "done": False, "detail": "status 405"},
    ]


async def test_a_port_that_is_given_back_names_the_lines_that_keep_it_still(tmp_path: Path) -> None:
    def row(port: int, line: str, *, kept: bool = True) -> PortInfo:
        return PortInfo(
            port=port, label=None, host=None, holder="web-1", state="down", since=None, kept_until=None,
            kept_for_good=kept, lines=[line],
        )  # fmt: skip

    table = [row(30041, "/k, line 1"), row(30042, "/k, line 2"), row(30042, "/k, line 3", kept=False)]
    async with serving(SmallGateway(port_table=table), tmp_path / "state", []):
        answer = await get(tmp_path / "state", "/api/v1/names/tcp%3A%3A30042", "DELETE")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["lines"] == ["/k, line 2"]


class Slow(SmallGateway):
    """By the time that it is to close something, that has gone by itself."""

    async def close_tunnel(self, tunnel: TunnelId, reason: str) -> bool:
        return False

    async def close_connection(self, connection: ConnectionId, reason: str) -> bool:
        return False

    async def free(self, address: Address, owner: IdentityId) -> bool:
        return False


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("tunnels/blog", b"blog.example.com closed by itself a moment ago"),
        ("connections/s1", b"connection s1 ended by itself a moment ago"),
        ("names/blog", b"blog.example.com was freed a moment ago"),
        ("blocked/192.0.2.7", b"'192.0.2.7' is not blocked"),
    ],
)
async def test_a_target_that_ended_by_itself_is_not_reported_as_closed(tmp_path: Path, path: str, says: bytes) -> None:
    async with serving(Slow(), tmp_path / "state", []):
        answer = await get(tmp_path / "state", f"/api/v1/{path}", "DELETE")
    assert answer.split()[1] == b"404"
    assert says in answer
