"""Heads in pieces or many together, and unread answers of the edge. As a play."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from edge.http_play import Transport
from edge.http_rig import OWN, running_edge

PIPELINE_BYTES = 64 * 1024
VISITOR_HIGH_WATER_BYTES = 64 * 1024


async def test_pages_for_pipelined_requests_wait_until_earlier_ones_are_read() -> None:
    """A request of 35 bytes gets a page of many times that: 64 KiB of them would be half a megabyte of pages."""
    ask = OWN
    many = PIPELINE_BYTES // len(ask)
    async with running_edge(1) as rig:
        visitor = rig.edge.protocol(secure=False, port=80)
        transport = Transport(visitor)
        transport.reads = False
        visitor.connection_made(cast(Any, transport))
        visitor.data_received(ask)
        page = transport.waiting
        visitor.data_received(ask * (many - 1))
        async with asyncio.timeout(10):
            while len(rig.reports) < many:
                assert transport.waiting <= VISITOR_HIGH_WATER_BYTES + page
                transport.take_all()
                await asyncio.sleep(0)
        assert len(transport.written) == many * page > 4 * VISITOR_HIGH_WATER_BYTES
        visitor.connection_lost(None)


@pytest.mark.parametrize("known", [False, True], ids=["new heads", "heads that are known by their bytes"])
async def test_one_empty_line_before_each_head_is_ignored(known: bool) -> None:
    ask = OWN
    async with running_edge(1) as rig:
        visitor = rig.edge.protocol(secure=False, port=80)
        transport = Transport(visitor)
        visitor.connection_made(cast(Any, transport))
        visitor.data_received(ask)
        for number in range(3):
            visitor.data_received(b"\r\n")
            visitor.data_received(ask if known else ask[:-2] + b"N: %d\r\n\r\n" % number)
        assert transport.written.count(b"HTTP/1.1 404 ") == 4
        for _ in range(2):
            assert b"HTTP/1.1 400 " not in transport.written
            visitor.data_received(b"\r\n")
        assert transport.written.count(b"HTTP/1.1 400 ") == 1
        visitor.connection_lost(None)
