"""The table of answers: what a hostile service sends reaches nobody but whoever asked it, and that in good order.

The visitor asks the service at one name, then another service over the same connection; a second visitor asks the
first name again. Both must get what was meant for them, over a stream that was not in doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from edge.http_rig import GET, OTHER, Rig, running_edge, service, statuses
from ferry.edge.http.shared import Bounds
from vectors.http1.table import Answer, answers

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLEAN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean"
LAST = CLEAN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Hostile:
    """Answers the first request with `send`, and every later one as it should."""

    def __init__(self) -> None:
        self.send: bytes | None = None
        self.requests: list[int] = []
        """For each connection since `arm`, how many requests came on it."""

    def arm(self, send: bytes) -> None:
        self.send = send
        self.requests.clear()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.requests)
        self.requests.append(0)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            self.requests[number] += 1
            data, self.send = self.send, None
            writer.write(CLEAN if data is None else data)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hostile() -> AsyncIterator[tuple[Hostile, Rig]]:
    handler = Hostile()
    bounds = Bounds(linger_seconds=0.2, tick_seconds=0.05, pool_idle_seconds=60)
    async with service(handler) as port, running_edge(port, bounds=bounds, also=[OTHER]) as rig:
        yield handler, rig


@pytest.mark.parametrize("case", answers(), ids=str)
async def test_only_the_visitor_of_a_request_gets_its_answer(case: Answer, hostile: tuple[Hostile, Rig]) -> None:
    handler, rig = hostile
    rig.forget_streams()
    handler.arm(case.send)
    reader, writer = await rig.connect()
    writer.write(case.asked)
    first = await final(reader, len(case.statuses), b"HEAD" in case.asked)
    rest = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        writer.write(GET.replace(b"a.localhost", OTHER.encode() + b"\r\nConnection: close"))
        rest = await reader.read()
    writer.close()
    assert statuses(first) == list(case.statuses)
    assert b"poison" not in first + rest
    if case.gets is not None:
        assert first == case.gets
    assert rest == (b"" if case.closes else LAST)
    assert (b"\r\nConnection: close\r\n" in first) is case.closes
    # somebody else
    assert await rig.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == LAST
    assert handler.requests[0] == 1 + case.reused
    assert len(handler.requests) == 3 - case.closes - case.reused


async def final(reader: asyncio.StreamReader, count: int, headless: bool) -> bytes:
    """`count` answers, the last of them with its body."""
    data = b""
    for _ in range(count):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        data += head
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head)
    if b"chunked" in head and not headless:
        data += await reader.readuntil(b"0\r\n\r\n")
    elif length and not headless and b" 304 " not in head:
        data += await reader.readexactly(int(length[1]))
    return data


@pytest.mark.parametrize("late", [b"poison", CLEAN.replace(b"clean", b"poiso"), b"\r\n", b""], ids=str)
async def test_bytes_before_a_request_are_never_its_answer(late: bytes) -> None:
    """A stream that waits for its next request must be silent; the end of it is no answer either."""
    go = asyncio.Event()
    connections: list[int] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CLEAN)
        if len(connections) == 1:
            await go.wait()
            writer.write(late) if late else writer.write_eof()
        await reader.read()

    # nothing but what came may end the stream within the test's time
    bounds = Bounds(linger_seconds=0.2, tick_seconds=0.05, pool_idle_seconds=60)
    async with service(handle) as port, running_edge(port, bounds=bounds) as rig:
        closing = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert await rig.talk(closing) == LAST
        assert rig.edge.idle_streams == 1
        go.set()
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0
        assert await rig.talk(closing) == LAST
        assert len(connections) == 2


@pytest.mark.parametrize(
    "head", [b"x" * 70_000, b"X: y\r\n" * 201, b"X: " + b"y" * 66_000], ids=["line", "many", "long"]
)
async def test_giant_heads_are_refused(head: bytes, hostile: tuple[Hostile, Rig]) -> None:
    handler, rig = hostile
    rig.forget_streams()
    handler.arm((b"" if head[:1] == b"x" else b"HTTP/1.1 200 OK\r\n") + head + b"\r\n\r\n")
    reader, writer = await rig.connect()
    writer.write(GET)
    assert statuses(await final(reader, 1, False)) == [502]
    writer.close()
    assert await rig.talk(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) == LAST
    assert handler.requests == [1, 1]
