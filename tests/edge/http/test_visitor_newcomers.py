"""The refusal of new connections, and its cost."""

from __future__ import annotations

import asyncio
import re

from edge.http_rig import OWN, gone, running_edge
from ferry.clock import SystemClock
from ferry.edge.connections import Connected, Connections
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.sources import ExemptNetworks
from turns import until


class Full(Connections):
    """Has no descriptor left."""

    def admit(self, newcomer: Connected, transport: asyncio.BaseTransport) -> bool:
        return False


async def test_a_newcomer_without_a_descriptor_gets_one_503_with_that_reason() -> None:
    limiter = ConnectionLimiter(0, ExemptNetworks([]))  # its address has too many as well
    full = Full(None, limiter.exempt, SystemClock())
    async with running_edge(1, limiter=limiter, connections=full) as rig, asyncio.timeout(10):
        answer = await rig.talk(b"")
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) == [b"503"]
        assert answer.count(b"The gateway has too many connections") == 1
        assert not rig.reports
        await until(lambda: not rig.edge.connections)


async def test_one_connection_too_many_of_an_address_gets_503_until_another_has_left() -> None:
    async with running_edge(1, limiter=ConnectionLimiter(1, ExemptNetworks([]))) as rig, asyncio.timeout(10):
        ask = OWN
        reader, writer = await rig.connect()
        writer.write(ask)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        refused = await rig.talk(ask)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"Too many connections" in refused
        await gone(writer)
        await until(lambda: not rig.edge.connections)
        assert (await rig.talk(ask, eof=True)).startswith(b"HTTP/1.1 404 ")
