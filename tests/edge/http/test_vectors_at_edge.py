"""The table of heads through a running edge: an independent parser behind it sees one request, as meant, or none."""

from __future__ import annotations

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge.http_rig import GET, H11Service, Seen, answering, running_edge, service

VECTORS = Path(__file__).parents[2] / "vectors" / "http1"
OURS = (b"x-forwarded-", b"forwarded:")


def cases(name: str) -> list[Any]:
    return [pytest.param(row, id=row["name"]) for row in tomllib.loads((VECTORS / name).read_text())["case"]]


def without_ours(head: bytes) -> bytes:
    return b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(OURS))


def answers(data: bytes) -> int:
    return len(re.findall(rb"HTTP/1\.1 \d{3} ", data))


async def send(data: bytes) -> tuple[bytes, list[Seen], list[str]]:
    seen: list[Seen] = []
    errors: list[str] = []
    server = await asyncio.get_running_loop().create_server(lambda: H11Service(seen, errors), "127.0.0.1", 0)
    async with server, running_edge(server.sockets[0].getsockname()[1]) as rig:
        answer = await rig.talk(data, eof=True)
    return answer, seen, errors


@pytest.mark.parametrize("case", cases("requests.toml"))
async def test_request(case: dict[str, Any]) -> None:
    # A second request follows: it must be answered after a good one, and reach nobody after a bad one.
    answer, seen, errors = await send(case["send"].encode("latin-1") + GET)
    assert not errors
    if "status" in case:
        assert answer.startswith(b"HTTP/1.1 %d " % case["status"])
        if case["status"] != 404:  # an unknown name leaves no doubt about where the next request begins
            assert answers(answer) == 1
            assert b"\r\nConnection: close\r\n" in answer
            # a body that breaks off may have begun to go on: never more than that, never whole
            assert [request.head.count(b"chunked") for request in seen] in ([], [1])
        return
    assert without_ours(seen[0].head) == case["sees"].encode("latin-1")
    assert seen[0].body == case.get("body", "").encode()
    again = 2 if "HTTP/1.0" not in case["send"] else 1  # HTTP/1.0 does not go on unasked
    assert (len(seen), answers(answer)) == (again, again)
    ours = [line for line in seen[0].head.split(b"\r\n") if line.lower().startswith(OURS)]
    assert [line.split(b":")[0] for line in ours] == [
        b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Port", b"Forwarded",
    ]  # fmt: skip
    assert ours[0] == b"X-Forwarded-For: 127.0.0.1"


@pytest.mark.parametrize("case", cases("responses.toml"))
async def test_response(case: dict[str, Any]) -> None:
    method = case.get("method", "GET").encode()
    body = {"length": b"x" * max(case.get("length", 0), 0), "chunked": b"1\r\nx\r\n0\r\n\r\n"}
    data = case["send"].encode("latin-1") + body.get(case.get("framing", ""), b"")
    async with service(answering(data, close=not case.get("keep_alive"))) as port, running_edge(port) as rig:
        answer = await rig.talk(GET.replace(b"GET", method), eof=True)
    status = 502 if case.get("refused") else case["status"]
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answers(answer) == 1
    assert rig.tunnel.visits[0].status == status
    assert bool(rig.tunnel.visits[0].note) is (status == 502)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: a.localhost\r\nX: " + b"a" * 17000, 431),
        (b"GET / HTTP/1.1\r\nHost: a.localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
    ],
)
async def test_too_much(data: bytes, status: int) -> None:
    answer, seen, _ = await send(data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert not seen
