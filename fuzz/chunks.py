"""Chunked bodies: any cut of the bytes gives the same payload, and a second decoder agrees about every body."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.framing import CHUNKED

from .target import Target, Value, grown

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})((?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*)\r\n" % (_TOKEN, _TOKEN, _QUOTED)
)
_TRAILER = re.compile(rb"%b:[^\x00-\x08\x0a-\x1f\x7f]*\r\n" % _TOKEN)
Result = tuple[bytes, bytes] | None


def by_the_book(data: bytes) -> Result:
    """The payload and what follows the body, by RFC 9112 §7.1 and our bounds; None unless it is whole and good."""
    payload, at = b"", 0
    while True:
        line = _SIZE.match(data, at)
        if line is None or line.end() - at - 1 > limits.CHUNK_LINE_BYTES:
            return None
        at, size = line.end(), int(line[1], 16)
        if size == 0:
            break
        payload += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            return None
        at += 2
    begin = at
    while not data.startswith(b"\r\n", at):
        field = _TRAILER.match(data, at)
        if field is None:
            return None
        at = field.end()
    return (payload, data[at + 2 :]) if at + 1 - begin <= limits.TRAILER_BYTES else None


def fed(data: bytes, pieces: list[int], *, chunked_out: bool) -> Result:
    """What `Body` makes of it, fed in pieces of these sizes."""
    body, out, at = Body(CHUNKED, chunked_out=chunked_out), b"", 0
    try:
        for size in [*pieces, len(data)]:
            wire, rest = body.feed(data[at : at + size])
            at += size
            out += wire
            if body.done:
                return out, rest + data[at:]
            assert not rest
    except RemoteProtocolError as error:
        assert error.status in (400, 431)
        assert str(error).isprintable()
    return None


def check(value: Value) -> None:
    pieces, data = list(value[0]), b"".join(value[1:])
    expected = by_the_book(data)
    whole = fed(data, [], chunked_out=False)
    assert whole == expected
    assert fed(data, pieces, chunked_out=False) == whole, "it matters how the bytes are cut"
    assert fed(data, [1] * min(len(data), 400), chunked_out=False) == whole, "it matters how the bytes are cut"
    anew = fed(data, pieces, chunked_out=True)
    if anew is None:
        assert whole is None
        return
    assert whole is not None
    assert by_the_book(anew[0]) == (whole[0], b""), "what is written anew is another body"
    assert anew[1] == whole[1]


_PARTS = st.one_of(
    st.sampled_from(
        [b"0\r\n\r\n", b"0\r\n", b"\r\n", b"5\r\nhello\r\n", b"A\r\n0123456789\r\n", b"1;a=b\r\nx\r\n", b'1;a="\\""\r\nx\r\n',
         b'1;a="\r\n', b"1 \r\nx\r\n", b"0;x\r\nA: b\r\n\r\n", b"A: b\r\n", b"\n", b"\r", b"0x1\r\n", b"-1\r\n", b"GET / HTTP/1.1\r\n",
         b"1" * 16, b";" + b"e" * 250, b"F" * 15 + b"\r\n", b": x\r\n"]
    ),
    st.binary(max_size=4),
    st.binary(min_size=1, max_size=40).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
    st.just(b"T: " + b"t" * 2000 + b"\r\n"),
)  # fmt: skip
_LISTS = st.lists(_PARTS, max_size=8)
_VALUES = st.tuples(st.lists(st.integers(0, 9), max_size=12), _LISTS).map(lambda two: [two[0], *two[1], b"0\r\n\r\n"])
TARGET = Target(
    "chunks",
    grown("chunks", _VALUES, _LISTS, head=1),
    check,
    ("ferry.protocol.http1.chunked", "ferry.protocol.http1.body"),
    in_tests=200,
)
