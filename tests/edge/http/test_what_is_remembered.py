"""The edge's cache of heads: number, size, a second of life, and no data of visitors that have left."""

from __future__ import annotations

import asyncio
import gc

import pytest

from edge.http_play import played
from edge.http_rig import CLOSING, GET, answering, running_edge, service
from ferry.edge.http.shared import Bounds
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from turns import until

HEADS_REMEMBERED = 256
HEAD_REMEMBERED_BYTES = 2 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_TICK = Bounds(tick_seconds=60, linger_seconds=0.1)


def heads(kind: type[RequestHead | ResponseHead]) -> int:
    """How many there are in this process."""
    gc.collect()
    return sum(isinstance(thing, kind) for thing in gc.get_objects())


def get(number: int, size: int = 0) -> bytes:
    return GET.replace(b"\r\n\r\n", b"\r\nX: %d%b\r\n\r\n" % (number, b"x" * size))


async def test_heads_are_remembered_up_to_a_bound_until_the_tick() -> None:
    wanted = HEADS_REMEMBERED + 50
    async with service(answering(OK)) as port, running_edge(port, bounds=NO_TICK) as rig:
        before = heads(RequestHead)
        answer = await rig.talk(b"".join(map(get, range(wanted - 1))) + CLOSING)
        assert answer.count(b"200 OK") == wanted
        assert 0 < heads(RequestHead) - before <= HEADS_REMEMBERED
    async with service(answering(OK)) as port, running_edge(port) as rig, asyncio.timeout(10):
        before = heads(RequestHead)
        await rig.talk(b"".join(map(get, range(50))) + CLOSING)
        await until(lambda: heads(RequestHead) <= before, every=0.02)  # the tick forgets them


async def test_large_heads_are_not_remembered() -> None:
    async with service(answering(OK)) as port, running_edge(port, bounds=NO_TICK) as rig:
        before = heads(RequestHead)
        await rig.talk(b"".join(get(n, HEAD_REMEMBERED_BYTES) for n in range(50)) + CLOSING)
        assert heads(RequestHead) - before <= 1  # that of CLOSING


async def test_an_idle_stream_remembers_small_heads_of_answers_only() -> None:
    large = OK.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * HEAD_REMEMBERED_BYTES + b"\r\n\r\n")
    async with service(answering(large, OK, large)) as port, running_edge(port, bounds=NO_TICK) as rig:
        before = heads(ResponseHead)
        for kept in (0, 1, 1):  # nothing, the small one, still the small one
            assert b"200 OK" in await rig.talk(CLOSING)
            assert rig.edge.idle_streams == 1
            assert heads(ResponseHead) - before == kept


async def test_equal_heads_mean_the_same_and_equal_beginnings_do_not() -> None:
    async with service(answering(OK)) as port, running_edge(port, bounds=NO_TICK) as rig:
        assert (await rig.talk(GET + GET + b"\r\n" + GET, eof=True)).count(b"200 OK") == 3
        assert (await rig.talk(GET[:-2] + b"Bad\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await rig.talk(b"\r\n\r\n" + GET)).startswith(b"HTTP/1.1 400 ")
        assert (await rig.talk(GET + b"\r\n\r\n" + GET)).count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize("fields", [1, 60])
async def test_an_idle_visitor_keeps_only_a_small_last_head(fields: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand idle visitors whose heads were large would keep 160 MB."""
    head = GET[:-2] + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 80) for number in range(fields)) + b"\r\n"
    async with played(monkeypatch) as (_, visitor, transport, streams):
        for _ in range(2):
            visitor.data_received(head)
            streams[0].sink.data_received(OK)
        assert transport.written == OK + OK
        sent = bytes(streams[0].written[: len(streams[0].written) // 2])
        assert streams[0].written == sent + sent
        kept = max(
            len(thing) for thing in gc.get_referents(*gc.get_referents(visitor.exchange)) if isinstance(thing, bytes)
        )
        assert kept == len(sent) if fields == 1 else kept <= HEAD_REMEMBERED_BYTES < len(sent)
