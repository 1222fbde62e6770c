"""The chunked coding: any split gives the same result, in agreement with httptools."""

from __future__ import annotations

import itertools

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.chunked import ChunkedDecoder, encode_chunk
from ferry.protocol.http1.framing import CHUNKED

CHUNK_LINE_BYTES = 256
CHUNKS_IN_A_PIECE = 128
TRAILER_BYTES = 8 * 1024
BAD = {
    "trailing space": b"5 \r\nhello\r\n0\r\n\r\n",
    "space before extension": b"5 ;x\r\nhello\r\n0\r\n\r\n",
    "leading space": b" 5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "minus": b"-5\r\nhello\r\n0\r\n\r\n",
    "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "empty size": b"\r\nhello\r\n0\r\n\r\n",
    "only an extension": b";x\r\n\r\n",
    "empty extension": b"5;\r\nhello\r\n0\r\n\r\n",
    "overflow": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "bare LF after size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after size": b"5\rhello\r\n0\r\n\r\n",
    "data too long": b"5\r\nhellox\r\n0\r\n\r\n",
    "another end of data": b"5\r\nhelloxx0\r\n\r\n",
    "LF in extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "CR in extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in extension": b"5;a\x00\r\nhello\r\n0\r\n\r\n",
    "bare LF at the end": b"5\r\nhello\r\n0\r\n\n",
    "trailer without colon": b"0\r\nx\r\n\r\n",
    "trailer without a name": b"0\r\n: y\r\n\r\n",
    "folded trailer": b"0\r\nX: y\r\n z\r\n\r\n",
    "space before trailer colon": b"0\r\nX : y\r\n\r\n",
    "NUL in trailer": b"0\r\nX: \x00\r\n\r\n",
    "endless extension": b"5;" + b"a" * CHUNK_LINE_BYTES + b"\r\nhello\r\n0\r\n\r\n",
    "endless trailer": b"0\r\n" + b"X: y\r\n" * TRAILER_BYTES + b"\r\n",
}


def decode(*parts: bytes) -> tuple[bytes, bool, bytes]:
    decoder, pieces, rest = ChunkedDecoder(), list[bytes](), b""
    for part in parts:
        if decoder.done:
            rest += part
            continue
        left = part
        while left and not decoder.done:
            left = left[decoder.feed(left, pieces) :]
        rest += left
    return b"".join(pieces), decoder.done, rest


def check_refused(wire: bytes) -> None:
    """As a whole and byte by byte."""
    with pytest.raises(RemoteProtocolError):
        decode(wire)
    with pytest.raises(RemoteProtocolError):
        decode(*(wire[i : i + 1] for i in range(len(wire))))


@pytest.mark.parametrize("wire", BAD.values(), ids=BAD.keys())
def test_an_invalid_chunked_body_is_refused_whole_and_byte_by_byte(wire: bytes) -> None:
    check_refused(wire)


def test_small_chunks_are_decoded_in_bounded_pieces() -> None:
    decoder, pieces, many = ChunkedDecoder(), list[bytes](), 10 * CHUNKS_IN_A_PIECE
    wire = b"1\r\nx\r\n" * many + b"0\r\n\r\n"
    calls = 0
    while not decoder.done:
        before = len(pieces)
        wire = wire[decoder.feed(wire, pieces) :]
        assert len(pieces) - before <= CHUNKS_IN_A_PIECE
        calls += 1
        assert calls <= 11
    assert (len(pieces), wire) == (many, b"")


def test_line_without_end_is_bounded() -> None:
    with pytest.raises(RemoteProtocolError):
        decode(*[b"1"] * (CHUNK_LINE_BYTES + 2))


@pytest.mark.parametrize("wire", [b"5\rhello", b"5;a\r;b", b"0\r\nX: y\rZ: w"])
def test_a_line_that_ends_in_cr_alone_is_refused_at_once(wire: bytes) -> None:
    check_refused(wire)


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b";a", b";a=b", b';a="b c"', b";a=b;c=d"])
TRAILERS = st.sampled_from([b"", b"X: y\r\n", b"X: y\r\nContent-Length: 5\r\n"])


@given(CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=12))
def test_any_split_gives_the_same(
    chunks: list[bytes], extension: bytes, trailer: bytes, after: bytes, cuts: list[int]
) -> None:
    wire = (
        b"".join(b"%X%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks)
        + b"000"
        + extension
        + b"\r\n"
        + trailer
        + b"\r\n"
    )
    data = wire + after
    marks = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[a:b] for a, b in itertools.pairwise(marks)]
    assert decode(*parts) == (b"".join(chunks), True, after)


class Taken:
    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.done = True


@given(
    st.lists(st.sampled_from([b"5", b"0", b"a", b"\r\n", b"\n", b";x", b" ", b"hello", b"X: y", b"\r"]), max_size=12)
)
def test_httptools_accepts_all_that_we_accept(words: list[bytes]) -> None:
    wire = b"".join(words)
    try:
        body, done, rest = decode(wire)
    except RemoteProtocolError:
        return
    if not done:  # a line that is not whole has not been judged
        return
    taken = Taken()
    parser = httptools.HttpRequestParser(taken)
    parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(wire[: len(wire) - len(rest)])
    assert (taken.body, taken.done) == (body, done)


@given(CHUNKS, st.integers(1, 50), st.booleans())
def test_body_is_framed_anew(chunks: list[bytes], step: int, chunked_out: bool) -> None:
    data = b"".join(encode_chunk([chunk]) for chunk in chunks) + b"0\r\nA: b\r\n\r\nNEXT"
    body, out, rest, payload = Body(CHUNKED, chunked_out=chunked_out), b"", b"", 0
    for at in range(0, len(data), step):
        if body.done:
            rest += data[at : at + step]
            continue
        wire, behind = body.feed(data[at : at + step])
        out, rest, payload = out + wire, rest + behind, payload + body.payload
    assert (rest, payload) == (b"NEXT", len(b"".join(chunks)))
    assert (decode(out) if chunked_out else (out, True, b"")) == (b"".join(chunks), True, b"")


def test_body_by_length_ends_exactly() -> None:
    body = Body(5)
    data = b"hel"
    wire, rest = body.feed(data)
    assert wire is data  # not copied
    assert (rest, body.done, body.payload) == (b"", False, 3)
    assert body.feed(b"loNEXT") == (b"lo", b"NEXT")
    assert (body.done, body.payload) == (True, 2)
