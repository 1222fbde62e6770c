"""Requests and answers in order, and true error answers. The services here misbehave on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace

import pytest

from edge.http_rig import CLOSING, GET, OWN, answering, pause_reading, running_edge, service, statuses
from edge.tcp_tunnel import TcpTunnel
from ferry.edge.http.shared import Bounds
from ferry.protocol.http1.request import RequestHead
from ferry.streams import Direction, OpenFailure
from granted import to_listen
from resets import reset
from turns import until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
POST = b"POST / HTTP/1.1\r\nHost: a.localhost\r\nContent-Length: %d\r\n\r\n"
QUICK = Bounds(head_seconds=0.2, keepalive_seconds=0.2, linger_seconds=0.1, half_closed_seconds=0.2, tick_seconds=0.02)


async def number(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the path that was asked for."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))


async def test_pipelined_requests_are_answered_in_order() -> None:
    wanted = [b"/%d" % i for i in range(300)]
    requests = [b"GET %b HTTP/1.1\r\nHost: a.localhost\r\nX: %b\r\n\r\n" % (path, b"x" * 300) for path in wanted]
    requests[150] = requests[150].replace(b"a.local", b"nobody.local")  # answered by us, in its place
    async with service(number) as port, running_edge(port) as rig:
        answer = await rig.talk(b"".join(requests), eof=True)
        assert re.findall(rb"\r\n\r\n(/\d+)", answer) == wanted[:150] + wanted[151:]
        assert statuses(answer) == [200] * 150 + [404] + [200] * 149
        assert len(rig.tunnel.dialled) == 1


async def test_reading_ahead_is_bounded() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await release.wait()
        writer.write(OK)
        await number(reader, writer)

    async with service(slow) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(GET * 400_000)  # 15 MB
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        release.set()
        for _ in range(1000):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            await reader.readexactly(2 if _ == 0 else 1)
        writer.transport.abort()


async def test_streams_are_reused_last_first_and_expire() -> None:
    bounds = Bounds(pool_idle_seconds=0.1, tick_seconds=0.02)
    async with service(answering(OK)) as port, running_edge(port, bounds=bounds) as rig:
        for _ in range(3):
            await rig.talk(CLOSING)
        assert len(rig.tunnel.dialled) == 1
        await asyncio.gather(*(rig.talk(CLOSING) for _ in range(5)))
        assert rig.edge.idle_streams <= 5
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0


async def test_a_closing_tunnel_empties_its_pool() -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        await rig.talk(CLOSING)
        assert rig.edge.idle_streams == 1
        rig.routes.remove(rig.tunnel)
        assert rig.edge.idle_streams == 0
        await rig.tunnel.quiet()


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"more",
        OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
        OK.replace(b"1.1", b"1.0"),
        b"HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
    ids=["unasked bytes", "Connection: close", "HTTP/1.0", "204 with a body", "unasked bytes after chunks"],
)
async def test_streams_in_doubt_are_not_reused(answer: bytes) -> None:
    async with service(answering(answer)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Connection: close" not in head  # that is between us and the service
            if b"204" not in head:
                await (reader.readuntil(b"0\r\n\r\n") if b"chunked" in head else reader.readexactly(2))
        assert len(rig.tunnel.dialled) == 2
        writer.close()


async def test_a_request_on_a_dead_idle_stream_is_repeated_once_if_it_may_be() -> None:
    seen: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request and drops the connection at the second, as a service does whose keep-alive ran out."""
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0])
        writer.write(OK)
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b" ")[0])

    async with service(once) as port, running_edge(port) as rig:
        answer = await rig.talk(GET + GET + GET, eof=True)
        assert statuses(answer) == [200, 200, 200]
        assert len(rig.tunnel.dialled) == 3
        await rig.talk(CLOSING)
        seen.clear()
        answer = await rig.talk((POST % 2) + b"hi", eof=True)
        assert (statuses(answer), seen) == ([502], [b"POST"])  # the dead stream: a POST is not repeated
        answer = await rig.talk((POST % 2) + b"hi", eof=True)
        assert (statuses(answer), seen) == ([200], [b"POST", b"POST"])


async def test_fresh_stream_that_dies_is_not_retried() -> None:
    async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with service(mute) as port, running_edge(port) as rig:
        answer = await rig.talk(GET, eof=True)
        assert statuses(answer) == [502]
        assert len(rig.tunnel.dialled) == 1
        assert "closed without an answer" in rig.tunnel.visits[0].note


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ],
    ids=["length", "chunks", "before the last line"],
)
async def test_answer_that_breaks_off_is_cut(answer: bytes) -> None:
    async with service(answering(answer, close=True)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"ok")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert rig.tunnel.visits[0].note
        assert rig.tunnel.visits[0].status == 200


async def test_an_answer_with_a_broken_coding_becomes_502() -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n"
    async with service(answering(answer)) as port, running_edge(port) as rig:
        assert statuses(await rig.talk(GET, eof=True)) == [502]
        await rig.tunnel.quiet()


async def test_answer_ended_by_close_is_whole_and_by_reset_is_cut() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        if b"/cut" in head:
            await go.wait()
            reset(writer)

    go = asyncio.Event()
    async with service(handle) as port, running_edge(port) as rig:
        answer = await rig.talk(GET)
        assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end"
        reader, writer = await rig.connect()
        writer.write(GET.replace(b"/ ", b"/cut "))
        await reader.readuntil(b"to the end")
        go.set()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_the_next_request_does_not_destroy_a_last_answer() -> None:
    async def to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2**20)

    async with service(to_the_end) as port, running_edge(port, bounds=QUICK) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        await rig.visit()
        writer.write(GET)  # it has not seen yet that this was the last answer
        assert await reader.read() == b"x" * 2**20


async def test_interim_responses_are_relayed_and_bounded() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with service(answering(hint + hint + OK, hint * 17 + OK)) as port, running_edge(port) as rig:
        answer = await rig.talk(GET + GET, eof=True)
        assert statuses(answer) == [103, 103, 200] + [103] * 16 + [502]
    async with service(answering(hint + OK)) as port, running_edge(port) as rig:
        assert statuses(await rig.talk(GET.replace(b"1.1", b"1.0"))) == [200]  # never to HTTP/1.0


async def test_giant_answer_head_is_refused() -> None:
    giant = b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"x" * 70_000 + b"\r\n\r\n"
    async with service(answering(giant)) as port, running_edge(port) as rig:
        assert statuses(await rig.talk(GET, eof=True)) == [502]
        await rig.tunnel.quiet()


async def test_early_answer_is_relayed_and_both_sides_close() -> None:
    early = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"
    async with service(answering(early)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write((POST % 1_000_000) + b"x" * 1000)
        answer = await reader.read()
        assert answer == early.replace(b"\r\n\r\nno", b"\r\nConnection: close\r\n\r\nno")
        await rig.tunnel.quiet()
        assert rig.edge.idle_streams == 0


async def test_an_unknown_expectation_is_refused() -> None:
    async with (
        service(answering(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")) as port,
        running_edge(port) as rig,
    ):
        answer = await rig.talk((POST % 5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert statuses(answer) == [401]
        assert b"Connection: close\r\n" in answer
        await rig.tunnel.quiet()


async def test_persistence_of_old_visitors() -> None:
    async with service(answering(OK)) as port, running_edge(port) as rig:
        old = GET.replace(b"1.1", b"1.0")
        assert b"Connection: close\r\n" in await rig.talk(old)
        asking = old.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
        answer = await rig.talk(asking + asking, eof=True)
        assert statuses(answer) == [200, 200]
        assert answer.count(b"Connection: keep-alive\r\n") == 2


async def test_credentials_that_bind_a_connection_pin_the_stream() -> None:
    challenge = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
    async with service(answering(challenge, OK)) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        assert rig.edge.idle_streams == 0
        assert statuses(await rig.talk(CLOSING)) == [401]  # another visitor gets another stream
        writer.write(GET + GET)
        await reader.readuntil(b"okHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert len(rig.tunnel.dialled) == 2
        writer.close()
        await rig.tunnel.quiet()


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (OpenFailure.REFUSED, 502),
        (OpenFailure.GONE, 503),
        (OpenFailure.LIMIT, 503),
        (OpenFailure.TIMEOUT, 504),
    ],
)
async def test_streams_that_do_not_open(failure: OpenFailure, status: int) -> None:
    async with running_edge(1) as rig:
        rig.tunnel.refuse = failure
        answer = await rig.talk(GET * 2000, eof=True)  # refused on the spot: no depth of calls
        assert statuses(answer) == [status] * 2000
        assert (b"Retry-After: 5\r\n" in answer) is (status == 503)
        answer = await rig.talk((POST % 5) + b"hello" + GET)
        assert statuses(answer) == [status]
        assert b"Connection: close\r\n" in answer


async def test_a_request_to_an_unreachable_service_gets_502() -> None:
    async with service(number) as port:
        pass
    async with running_edge(port) as rig:
        assert statuses(await rig.talk(GET, eof=True)) == [502]
        assert rig.tunnel.visits[0].note == "the local service cannot be reached"


async def test_a_gone_tunnel_is_replaced_by_the_newer_one() -> None:
    async with service(answering(OK)) as port, running_edge(1) as rig:
        newer = TcpTunnel("a.localhost", ("127.0.0.1", port))
        rig.tunnel.refuse = OpenFailure.GONE
        rig.tunnel.dialling = lambda: rig.routes.add(newer, to_listen(newer))
        assert statuses(await rig.talk(CLOSING)) == [200]
        assert len(newer.visits) == 1
        newer.close()
        await newer.quiet()


async def test_a_gone_tunnel_without_a_successor_gets_503() -> None:
    async with running_edge(1) as rig:
        rig.tunnel.refuse = OpenFailure.GONE
        rig.tunnel.dialling = lambda: rig.routes.remove(rig.tunnel)
        assert statuses(await rig.talk(CLOSING)) == [503]


async def test_a_visitor_that_ends_during_the_look_up_is_answered() -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_name: str) -> bool:
        asked.set()
        await go.wait()
        return False

    async with running_edge(1, is_reserved=slow) as rig, asyncio.timeout(10):
        reader, writer = await rig.connect()
        writer.write(GET.replace(b"a.", b"nobody."))
        await asked.wait()
        writer.write_eof()
        assert statuses(await rig.talk(OWN, eof=True)) == [404]  # the edge has seen the end by now
        go.set()
        assert statuses(await reader.read()) == [404]


async def test_names_without_a_tunnel_get_404_or_503() -> None:
    async with running_edge(1) as rig:
        answer = await rig.talk(GET.replace(b"a.", b"nobody.") + GET.replace(b"a.", b"reserved."), eof=True)
        assert statuses(answer) == [404, 503]
        assert answer.count(b"Retry-After: 5\r\n") == 1
        assert [fields["status"] for _, fields in rig.reports] == [404, 503]
        assert rig.reports[0][0] == "edge.refused"


async def test_a_slow_head_gets_408() -> None:
    """Also of a second request: from its first byte on it has a head's time, not that of an idle connection."""
    slow_to_go = replace(QUICK, keepalive_seconds=60)
    async with service(answering(OK)) as port, running_edge(port, bounds=slow_to_go) as rig:
        assert statuses(await rig.talk(b"GET / HTTP/1.1\r\nHost:")) == [408]
        assert await rig.talk(b"") == b""  # who says nothing has a head's time too
        assert statuses(await rig.talk(GET + b"GET")) == [200, 408]


async def test_an_idle_connection_ends_without_an_answer() -> None:
    slow_to_speak = replace(QUICK, head_seconds=60)
    async with service(answering(OK)) as port, running_edge(port, bounds=slow_to_speak) as rig:
        assert await rig.talk(GET) == OK


async def test_event_stream_has_no_deadline_and_ends_with_its_visitor() -> None:
    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"9\r\ndata: 1\n\n\r\n")
        await asyncio.sleep(0.5)  # longer than any deadline of this edge
        writer.write(b"9\r\ndata: 2\n\n\r\n")
        await reader.read()

    async with service(events) as port, running_edge(port, bounds=QUICK) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"data: 2\n\n\r\n")
        writer.write_eof()  # as a closing browser does
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await rig.tunnel.quiet()
        assert rig.tunnel.visits[0].note == "the visitor left"


@pytest.mark.parametrize("stage", ["head", "opening", "body", "waiting", "answer"])
async def test_visitors_that_leave_keep_nothing(stage: str) -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/answer" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"4000\r\n" + b"hello..." * 2048 + b"\r\n")
                await writer.drain()
        await reader.read()

    async with service(endless) as port, running_edge(port) as rig:
        for _ in range(20):
            reader, writer = await rig.connect()
            writer.write(
                {"head": b"GET / HT", "body": (POST % 1_000_000) + b"x" * 10_000}.get(
                    stage, GET.replace(b"/ ", b"/%b " % stage.encode())
                )
            )
            if stage == "answer":
                await reader.readuntil(b"hello")
            elif stage != "opening":
                await asyncio.sleep(0.002)
            reset(writer)
        await until(lambda: not rig.edge.connections and not rig.tunnel.streams)
        assert rig.edge.idle_streams == 0


async def test_a_visitor_that_does_not_read_stalls_the_service_and_takes_no_memory() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 2**28)
        for _ in range(2**12):
            writer.write(b"x" * 2**16)
            await writer.drain()
            sent += 2**16

    async with service(flood) as port, running_edge(port) as rig:
        reader, writer = await rig.connect()
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        last = -1
        while last != sent:
            last = sent
            await asyncio.sleep(0.2)
        assert sent < 2**25  # what the kernel's buffers hold, and no more
        held = next(iter(rig.edge.connections)).transport.get_write_buffer_size()
        assert held <= 2**20
        reset(writer)
        await rig.tunnel.quiet()


async def test_a_service_that_does_not_read_stalls_the_visitor_and_takes_no_memory() -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pause_reading(writer)
        await asyncio.sleep(60)

    async with service(deaf) as port, running_edge(port) as rig:
        _, writer = await rig.connect()
        writer.write(POST % 2**28)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 2**25:
                writer.write(b"x" * 2**16)
                await asyncio.wait_for(writer.drain(), 0.3)
                sent += 2**16
        assert sent < 2**25
        transport = next(iter(rig.tunnel.streams)).transport
        assert transport is not None
        assert transport.get_write_buffer_size() <= 2**20
        reset(writer)
        await rig.tunnel.quiet()


async def test_drain_ends_idle_visitors_at_once_and_lets_others_finish() -> None:
    go = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        writer.write(OK)
        await reader.read()

    async with service(slow) as port, running_edge(port) as rig:
        idle, _ = await rig.connect()
        busy, writer = await rig.connect()
        writer.write(GET)
        await until(lambda: rig.tunnel.streams)
        draining = asyncio.create_task(rig.edge.drain(60))
        assert await idle.read() == b""
        go.set()
        assert await busy.read() == OK.replace(b"\r\n\r\nok", b"\r\nConnection: close\r\n\r\nok")
        async with asyncio.timeout(10):
            await draining
        assert len(rig.edge.connections) == 0
        await rig.tunnel.quiet()


async def test_tap_sees_both_directions() -> None:
    class Watch:
        def __init__(self) -> None:
            self.data = {Direction.UP: b"", Direction.DOWN: b""}
            self.ends: list[Exception | None] = []

        def begin(self, request: RequestHead | None) -> Watch:
            assert request is not None
            self.asked = request.method
            return self

        def seen(self, direction: Direction, data: bytes) -> None:
            self.data[direction] += data

        def ended(self, error: Exception | None) -> None:
            self.ends.append(error)

    async with service(answering(OK)) as port, running_edge(port) as rig:
        rig.tunnel.tap = watch = Watch()
        await rig.talk((POST % 5) + b"hello", eof=True)
        assert watch.data[Direction.DOWN] == OK
        assert watch.data[Direction.UP].endswith(b"\r\n\r\nhello")
        assert watch.ends == [None]
        assert watch.asked == b"POST"
