"""How a visitor's connection ends when its time is over, as a play."""

from __future__ import annotations

import asyncio

import pytest

from edge.http_play import played
from edge.http_rig import GET
from ferry import limits
from ferry.edge.http.state import Bounds
from hand_clock import HandClock

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("answer", [b"", OK[:-1]], ids=["not answered", "half an answer"])
async def test_half_a_close_whose_time_is_over_is_cut_and_not_told_of_a_slow_head(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is pipelined behind the request that is waited for."""
    async with played(monkeypatch) as (_, visitor, transport, streams):
        visitor.data_received(GET + GET[:9])
        visitor.eof_received()
        if answer:
            streams[0].sink.data_received(answer)
        visitor.expired()
        assert transport.written == answer
        assert transport.ends == ["abort"]


async def test_each_further_head_has_a_head_s_time_from_its_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = HandClock()
    async with (
        played(monkeypatch, clock=clock, bounds=Bounds(tick_seconds=0.01)) as (_, visitor, transport, streams),
        asyncio.timeout(3),
    ):
        for _ in range(2):
            visitor.data_received(GET)
            streams[-1].sink.data_received(OK)
            clock.ahead += limits.HEAD_SECONDS + 1
        for at in range(2):
            visitor.data_received(GET[at : at + 1])
            clock.ahead += 0.6 * limits.HEAD_SECONDS
        while b"HTTP/1.1 408 " not in transport.written:
            await asyncio.sleep(0.005)
        assert transport.written.startswith(OK + OK + b"HTTP/1.1 408 ")
