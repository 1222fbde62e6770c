"""Pipelines of requests through the whole edge to a service, both cut anywhere: each gets its own answer, in order, once."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import uvloop
from hypothesis import strategies as st

from edge.http_rig import HOST, Handler, Rig, running_edge, service

from .target import Target, Value

SECONDS = 20
PATTERN = bytes(range(251)) * 800
Exchange = tuple[str, str, int, int, str, int, str]
"""Method, how the request's body is framed, its size; status, how the answer's body is framed, its size, `Connection`."""


def cut(data: bytes, most: int, sizes: random.Random) -> list[bytes]:
    """`data` in pieces of at most `most` bytes; 0 leaves it whole."""
    pieces, at = [], 0
    while most and at < len(data):
        size = sizes.randint(1, max(most, len(data) // 200))
        pieces.append(data[at : at + size])
        at += size
    return pieces or [data]


def framed(how: str, payload: bytes) -> tuple[bytes, bytes]:
    """The field that says how a body is framed, and the body."""
    if how == "length":
        return b"Content-Length: %d\r\n" % len(payload), payload
    if how == "chunked":
        half = len(payload) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (payload[:half], payload[half:]) if part)
        return b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n"
    return b"", payload if how == "close" else b""


def request(number: int, exchange: Exchange) -> bytes:
    method, how, size = exchange[:3]
    field, body = framed(how, PATTERN[number : number + size])
    return b"%b /%d HTTP/1.1\r\nHost: %b\r\n%b\r\n%b" % (method.encode(), number, HOST.encode(), field, body)


def until_close(exchange: Exchange) -> bool:
    """The answer's body ends where the connection does, the visitor's too: no request behind it is read."""
    return exchange[4] == "close" and exchange[0] != "HEAD" and exchange[3] not in (204, 304)


async def head(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes]]:
    """The first line of a message, and its fields."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


async def body(reader: asyncio.StreamReader, fields: dict[bytes, bytes], *, until_close: bool) -> bytes:
    """What follows a head that has a body."""
    if fields.get(b"transfer-encoding") == b"chunked":
        payload = b""
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            payload += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
        return payload
    if b"content-length" in fields:
        return await reader.readexactly(int(fields[b"content-length"]))
    return await reader.read() if until_close else b""


class Pipeline:
    """One value, played."""

    def __init__(self, value: Value) -> None:
        (self.most, number), self.exchanges = value[0], value[1:]
        ends = [at for at, exchange in enumerate(self.exchanges) if until_close(exchange)]
        self.served = ends[0] + 1 if ends else len(self.exchanges)
        self.sizes = random.Random(number)
        self.seen: list[int] = []
        self.wrong: list[str] = []

    def handler(self) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                line, fields = await head(reader)
                method, target, _ = line.split(b" ")
                number = int(target[1:])
                expected = self.exchanges[number]
                payload = await body(reader, fields, until_close=False)
                self.seen.append(number)
                size = expected[2] if expected[1] in ("length", "chunked") else 0
                if method != expected[0].encode() or payload != PATTERN[number : number + size]:
                    self.wrong.append(f"{line!r} with {len(payload)} bytes")
                self.answer(writer, number)
                await writer.drain()
                if until_close(expected) or expected[6] == "close":
                    return

        return handle

    def answer(self, writer: asyncio.StreamWriter, number: int) -> None:
        method, _, _, status, how, size, connection = self.exchanges[number]
        field, payload = framed(how, PATTERN[number : number + size])
        if method == "HEAD" or status in (204, 304):
            payload = b""
        option = b"Connection: close\r\n" if connection == "close" else b""
        wire = b"HTTP/1.1 %d X\r\n%b%b\r\n%b" % (status, field if status != 204 else b"", option, payload)
        if connection == "hints":
            wire = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + wire
        for piece in cut(wire, self.most, self.sizes):
            writer.write(piece)

    async def visit(self, rig: Rig) -> None:
        reader, writer = await rig.connect()
        wire = b"".join(request(number, exchange) for number, exchange in enumerate(self.exchanges))
        answers = asyncio.get_running_loop().create_task(self.read(reader))
        for piece in cut(wire, self.most, self.sizes):
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS):
            await answers

    async def read(self, reader: asyncio.StreamReader) -> None:
        for number, (method, _, _, status, how, size, _) in enumerate(self.exchanges[: self.served]):
            line, fields = await head(reader)
            while line.startswith(b"HTTP/1.1 1"):
                line, fields = await head(reader)
            assert line.startswith(b"HTTP/1.1 %d " % status), (number, line)
            if method == "HEAD" or status in (204, 304):
                continue
            payload = await body(reader, fields, until_close=True)
            assert payload == PATTERN[number : number + (size if how != "none" else 0)], number

    async def play(self) -> None:
        async with service(self.handler()) as port, running_edge(port) as rig:
            await self.visit(rig)
        assert self.wrong == []
        assert sorted(self.seen) == list(range(self.served)), "a request was lost, or sent twice"
        assert rig.reports == [] or all(event != "edge.failed" for event, _ in rig.reports), rig.reports


def check(value: Value) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Pipeline(value).play())


_SIZES = st.sampled_from([0, 1, 2, 100, 16_384, 65_536, 70_000, 150_000]) | st.integers(0, 3000)
_EXCHANGES: Any = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"]),
        st.sampled_from(["none", "none", "length", "chunked"]),
        _SIZES,
        st.sampled_from([200, 200, 204, 304, 404, 500]),
        st.sampled_from(["length", "length", "chunked", "close"]),
        _SIZES,
        st.sampled_from(["", "", "close", "hints"]),
    ),
    min_size=1,
    max_size=6,
)
_VALUES = st.tuples(st.tuples(st.sampled_from([0, 1, 7, 900]), st.integers(0, 1000)), _EXCHANGES).map(
    lambda two: [two[0], *two[1]]
)
_HTTP = "ferry.edge.http."
TARGET = Target(
    "visits",
    _VALUES,
    check,
    (_HTTP + "visitor", _HTTP + "exchange", _HTTP + "upstream", _HTTP + "heads", _HTTP + "connection"),
    in_tests=25,
)
