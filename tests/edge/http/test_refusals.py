"""Connections that go on after a refusal, and heads in pieces."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from itertools import pairwise

import pytest

from edge.http_rig import CLOSING, GET, answering, running_edge, service, statuses
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from ferry.errors import Refusal
from ferry.policy.visits import VisitPolicy
from ferry.streams import OpenFailure
from granted import to_listen

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NOBODY = GET.replace(b"a.", b"nobody.")
OLD = NOBODY.replace(b"1.1", b"1.0")
UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo"


def with_fields(head: bytes, fields: bytes) -> bytes:
    return head.replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % fields)


@pytest.mark.parametrize(
    ("request_", "goes_on"),
    [
        (NOBODY, b""),
        (with_fields(OLD, b"Connection: keep-alive"), b"keep-alive"),
        (OLD, None),
        (with_fields(NOBODY, b"Connection: close"), None),
        (with_fields(NOBODY, UPGRADE), None),
        (with_fields(NOBODY, b"Content-Length: 5") + b"hello", None),
        (with_fields(NOBODY, b"Transfer-Encoding: chunked") + b"0\r\n\r\n", None),
        (with_fields(GET, b"Expect: wonders"), None),
        (b"junk\r\n\r\n", None),
    ],
    ids=str,
)
async def test_a_refused_visitor_goes_on_if_the_start_of_its_next_request_is_certain(
    request_: bytes, goes_on: bytes | None
) -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        answer = await rig.talk(request_ + CLOSING)
        first, _, _ = answer.partition(b"\r\n\r\n")
        connection = re.findall(rb"\r\nConnection: (\S+)", first)
        if goes_on is None:
            assert connection == [b"close"]
            assert len(statuses(answer)) == 1
            assert not rig.tunnel.dialled
        else:
            assert connection == ([goes_on] if goes_on else [])
            assert statuses(answer) == [404, 200]


async def test_one_empty_line_before_each_request_is_ignored() -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        for dribble in (False, True):
            assert statuses(await rig.talk(b"\r\n" + GET + b"\r\n" + CLOSING, dribble=dribble)) == [200, 200]
            assert statuses(await rig.talk(GET + b"\r\n\r\n" + CLOSING, dribble=dribble)) == [200, 400]
            assert statuses(await rig.talk(b"\r" + CLOSING, dribble=dribble)) == [400]
            assert statuses(await rig.talk(b"\n" + CLOSING, dribble=dribble)) == [400]


async def test_a_body_is_relayed_as_it_comes_and_the_next_request_follows_it() -> None:
    got, half = asyncio.Queue[bytes](), b"hello"

    async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(2):
                got.put_nowait(await reader.readexactly(5))
            writer.write(OK)

    async with service(reads) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        post = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: 10\r\n\r\n"
        for more in (post + half, post):
            writer.write(post + half)
            assert await got.get() == half
            writer.write(half + more)  # the end of this one, and the beginning of the next
            assert await got.get() == half
            assert await reader.readexactly(len(OK)) == OK
            if more == post:
                break
            assert await got.get() == half
            writer.write(half)
            assert await got.get() == half
            assert await reader.readexactly(len(OK)) == OK
        writer.write(half + half)
        assert await reader.readexactly(len(OK)) == OK
        assert len(rig.tunnel.dialled) == 1
        assert [visit.up for visit in rig.tunnel.visits] == [10, 10, 10, 10]
        assert rig.tunnel.traffic.up == 40
        assert rig.tunnel.traffic.down == 8


async def test_a_broken_chunk_is_refused_before_the_answer_and_cuts_a_begun_one() -> None:
    begun = asyncio.Event()

    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/eager" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")
        begun.set()
        await reader.read()

    post = with_fields(b"POST /%b HTTP/1.1\r\nHost: a.localhost\r\n\r\n", b"Transfer-Encoding: chunked")
    async with service(eager) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(post % b"eager")
        await reader.readuntil(b"ok")
        writer.write(b"zz\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        begun.clear()
        reader, writer = await rig.connect()
        writer.write(post % b"patient")
        await begun.wait()
        writer.write(b"zz\r\n")
        assert statuses(await reader.read()) == [400]
        await rig.tunnel.quiet()
        assert [visit.status for visit in rig.tunnel.visits] == [200, 400]


async def test_an_end_of_file_before_an_upgrade_counts_after_it() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go.wait()
        writer.write(switching)
        writer.write(await reader.read() + b" and bye")

    async with service(slow) as port, running_edge(port) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(with_fields(GET, UPGRADE) + b"ahead")
        await asked.wait()
        writer.write_eof()
        assert (await rig.talk(NOBODY, eof=True)).startswith(b"HTTP/1.1 404 ")  # the edge has seen the end by now
        go.set()
        assert await reader.read() == switching + b"ahead and bye"
        await rig.tunnel.quiet()


async def test_a_dead_idle_stream_is_replaced_by_one_of_the_tunnel_that_has_taken_over() -> None:
    async with service(answering(OK)) as port, running_edge(1) as rig:
        rig.tunnel.refuse = OpenFailure.GONE
        assert statuses(await rig.talk(GET + GET, eof=True)) == [503, 503]  # nobody has: it is not asked again
        assert len(rig.tunnel.dialled) == 2
        newer = TcpTunnel("a.localhost", ("127.0.0.1", port))
        rig.routes.add(newer, to_listen(newer))
        assert statuses(await rig.talk(CLOSING)) == [200]
        newer.close()
        await newer.quiet()


class Closed:
    """A rule: nobody visits."""

    def depends_on_visitor(self, _target: object) -> bool:
        return False

    def refusal(self, _who: object, _target: object) -> Refusal:
        return Refusal("it is closed", code="closed", rule="closed")


async def test_a_request_is_not_sent_again_to_a_tunnel_that_its_visitor_may_not_visit_any_more() -> None:
    """The operator has loaded other rules meanwhile. This request learns what became of its stream, the next one of them."""
    async with running_edge(1) as rig:
        rig.tunnel.refuse = OpenFailure.GONE
        rig.tunnel.dialling = lambda: rig.visits.use(VisitPolicy("gw", (Closed(),)))
        assert statuses(await rig.talk(GET + GET, eof=True)) == [503, 403]
        assert len(rig.tunnel.dialled) == 1


async def test_a_request_is_sent_again_once_however_often_its_tunnel_is_taken_over() -> None:
    """By an owner whose two clients take it from each other."""
    async with running_edge(1) as rig:
        tunnels = [rig.tunnel, *(TcpTunnel("a.localhost", ("127.0.0.1", 1)) for _ in range(3))]
        for tunnel, newer in pairwise(tunnels):
            tunnel.refuse = OpenFailure.GONE
            tunnel.dialling = partial(rig.routes.add, newer, to_listen(newer))
        assert statuses(await rig.talk(CLOSING)) == [503]
        assert [len(tunnel.dialled) for tunnel in tunnels] == [1, 1, 0, 0]


async def test_a_service_that_closes_does_not_close_the_visitors_connection() -> None:
    closing = OK.replace(b"\r\n\r\nok", b"\r\nConnection: close\r\n\r\nok")
    async with service(answering(closing)) as port, running_edge(port, bounds=Bounds(linger_seconds=0.1)) as rig:
        assert (await rig.talk(GET + GET, eof=True)) == OK + OK
        assert len(rig.tunnel.dialled) == 2


@pytest.mark.parametrize(
    ("failure", "status"), [(OpenFailure.REFUSED, 502), (OpenFailure.LIMIT, 503), (OpenFailure.GONE, 200)]
)
async def test_another_tunnel_gets_the_request_only_if_the_first_has_gone(failure: OpenFailure, status: int) -> None:
    async with service(answering(OK)) as port, running_edge(1) as rig:
        newer = TcpTunnel("a.localhost", ("127.0.0.1", port))
        dial = rig.tunnel.dial

        def taken_over(*arguments: object) -> object:
            rig.routes.add(newer, to_listen(newer))
            return dial(*arguments)  # type: ignore[arg-type]  # passed through as they came

        rig.tunnel.dial = taken_over  # type: ignore[method-assign, assignment]  # the moment of the takeover
        rig.tunnel.refuse = failure
        assert statuses(await rig.talk(CLOSING)) == [status]
        assert len(newer.visits) == (status == 200)
        newer.close()
        await newer.quiet()
