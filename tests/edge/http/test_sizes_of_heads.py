"""The largest heads of requests and answers, to the byte."""

from __future__ import annotations

import re

import pytest

from edge.http_rig import answering, running_edge, service

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a.localhost\r\nConnection: close\r\n"
KIB = 1024


def filled(head: bytes, size: int) -> bytes:
    """`head` with a field more, so that it has `size` bytes."""
    head += b"X-Filler: "
    return head.ljust(size - 4, b"x") + b"\r\n\r\n"


def with_fields(head: bytes, count: int) -> bytes:
    """`head` with so many fields that it has `count`."""
    head += b"".join(b"X-%d: y\r\n" % number for number in range(count - head.count(b": ")))
    return head + b"\r\n"


async def status_of(request: bytes, answer: bytes) -> list[int]:
    async with service(answering(answer)) as port, running_edge(port) as rig:
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", await rig.talk(request))]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(b"/ ", b"/".ljust(8 * KIB - len("GET  HTTP/1.1"), b"a") + b" ", 1) + b"\r\n", 200),
        (GET.replace(b"/ ", b"/".ljust(8 * KIB - len("GET  HTTP/1.1") + 1, b"a") + b" ", 1) + b"\r\n", 414),
        (filled(GET, 16 * KIB), 200),
        (filled(GET, 16 * KIB + 1), 431),
        (with_fields(GET, 100), 200),
        (with_fields(GET, 101), 431),
    ],
    ids=["line", "line and one", "head", "head and one", "fields", "fields and one"],
)
async def test_sizes_of_request_heads(request_: bytes, status: int) -> None:
    """REQUEST_LINE_BYTES, HEAD_BYTES and HEAD_FIELDS."""
    assert await status_of(request_, OK + b"\r\n") == [status]


@pytest.mark.parametrize(
    ("answer", "statuses"),
    [
        (filled(OK, 64 * KIB), [200]),
        (filled(OK, 64 * KIB + 1), [502]),
        (with_fields(OK, 200), [200]),
        (with_fields(OK, 201), [502]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 16 + OK + b"\r\n", [103] * 16 + [200]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK + b"\r\n", [103] * 16 + [502]),
    ],
    ids=["head", "head and one", "fields", "fields and one", "interim", "interim and one"],
)
async def test_sizes_of_answer_heads(answer: bytes, statuses: list[int]) -> None:
    """RESPONSE_HEAD_BYTES, RESPONSE_HEAD_FIELDS and INTERIM_RESPONSES."""
    assert await status_of(GET + b"\r\n", answer) == statuses
