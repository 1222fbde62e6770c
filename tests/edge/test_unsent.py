"""The bound on unsent bytes in the kernel: when it begins, its size, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import socket

import pytest

from edge.tcp_tunnel import small_visitor
from ferry.edge.unsent import Unsent
from ferry.relay import WritePause
from hurried_loop import Watch, hurried

SIZE = 4_000_000


@dataclass
class Stage:
    """A visitor that has read nothing of SIZE bytes."""

    visitor: socket
    unsent: Unsent = field(init=False)
    told: list[str] = field(default_factory=list)

    def serve(self, transport: asyncio.Transport) -> None:
        transport.write(bytes(SIZE))
        self.unsent = Unsent(transport, self.pause_writes, self.resume_writes)

    def pause_writes(self, why: int) -> None:
        assert why == WritePause.UNSENT
        self.told.append("pause_writes")

    def resume_writes(self, why: int) -> None:
        assert why == WritePause.UNSENT
        self.told.append("resume_writes")

    async def read(self, size: int) -> None:
        while size > 0:
            size -= len(await asyncio.get_running_loop().sock_recv(self.visitor, min(size, 65_536)))


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    loop, made = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    class Gateway(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            made.set_result(transport)

    server = await loop.create_server(Gateway, "127.0.0.1", 0)
    async with small_visitor(server.sockets[0].getsockname()[1], 4096) as visitor:
        one = Stage(visitor)
        transport = await made
        one.serve(transport)
        yield one
        one.unsent.forget()
        transport.abort()
    server.close()


@pytest.mark.parametrize(
    ("visitors", "until_the_next_look", "told"),
    [
        pytest.param(31, 64 * 1024, [], id="UNSENT_VISITORS and UNSENT_LOOK_BYTES"),
        pytest.param(32, 256 * 1024, ["pause_writes"], id="VISITORS_UNSENT_BYTES"),
        pytest.param(900, 16 * 1024, ["pause_writes"], id="VISITOR_UNSENT_LEAST_BYTES"),
    ],
)
@hurried
async def test_the_more_visitors_a_tunnel_has_the_less_waits_for_each(
    visitors: int, until_the_next_look: int, told: list[str]
) -> None:
    async with stage() as one:
        assert one.unsent.look(visitors) == until_the_next_look
        assert one.told == told


@hurried
async def test_a_visitor_that_reads_at_once_goes_on_within_milliseconds() -> None:
    """UNSENT_LOOK_SECONDS."""
    async with stage() as one, asyncio.timeout(20):
        one.unsent.look(32)
        watch = Watch()
        await one.read(SIZE)
        while len(one.told) < 2:
            await asyncio.sleep(0.01)
        assert one.told == ["pause_writes", "resume_writes"]
        assert watch.skipped < 0.5


@hurried
async def test_a_visitor_that_reads_late_goes_on_within_half_a_second() -> None:
    """UNSENT_LOOK_MOST_SECONDS."""
    async with stage() as one, asyncio.timeout(60 + 20):
        one.unsent.look(32)
        await asyncio.sleep(60)
        assert one.told == ["pause_writes"]
        watch = Watch()
        await one.read(SIZE)
        while len(one.told) < 2:
            await asyncio.sleep(0.01)
        assert watch.skipped < 1
