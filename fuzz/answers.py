"""A local service's head: whatever is taken means the same when it is written anew for a visitor."""

from __future__ import annotations

from hypothesis import strategies as st

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.response import ResponseHead, check_beginning, parse_response
from ferry.protocol.http1.serialize import interim_head, response_head

from .target import Target, grown

SIZE, FIELDS = 2000, 20


def understood(data: bytes, method: bytes) -> ResponseHead | None:
    """The head that `data` begins with, if it is a good one. Checks each refusal, and every moment before the end."""
    try:
        size = head_length(data, line_limit=SIZE, head_limit=SIZE)
        head = parse_response(data[:size], method=method, most_fields=FIELDS) if size else None
    except RemoteProtocolError as error:
        assert error.status in (400, 414, 431, 502)
        assert str(error).isprintable()
        assert str(error).isascii()
        head = None
    if head is None:
        return None
    for cut in range(size):
        assert head_length(data[:cut], line_limit=SIZE, head_limit=SIZE) == 0
        check_beginning(data[:cut])
    return head


def check(data: bytes) -> None:
    for method in (b"GET", b"HEAD"):
        head = understood(data, method)
        if head is None:
            continue
        assert 100 <= head.status <= 999
        assert head.status_line.startswith(b"%d " % head.status)
        assert head.framing is not Framing.CLOSE or not head.keep_alive
        assert (head.framing is Framing.NONE) == (method == b"HEAD" or head.status < 200 or head.status in (204, 304))
        wire = interim_head(head) if head.status < 200 else response_head(head, head.framing, b"")
        assert head_length(wire, line_limit=len(wire), head_limit=len(wire)) == len(wire)
        again = parse_response(wire, method=method, most_fields=FIELDS + 5)
        for name in ("status", "status_line", "fields", "framing", "binds_connection", "event_stream"):
            if name != "binds_connection":
                assert getattr(again, name) == getattr(head, name), name
        assert again.length == (-1 if head.framing in (Framing.CHUNKED, Framing.CLOSE) else head.length)
        assert head.status != 101 or again.upgrade == head.upgrade
        if head.framing in (Framing.LENGTH, Framing.CHUNKED):
            assert again.keep_alive, "the visitor would wait for the end of the connection"
        if head.status >= 200:  # an older visitor gets the body until the end
            until_close = parse_response(
                response_head(head, Framing.CLOSE, b"close"), method=b"GET", most_fields=FIELDS + 5
            )
            assert until_close.framing in (Framing.CLOSE, Framing.NONE)
            assert not until_close.keep_alive


_NAMES = st.sampled_from(
    b"Content-Length content-length Transfer-Encoding Connection Upgrade Keep-Alive WWW-Authenticate Content-Type Date "
    b"Set-Cookie X-Any Trailer Proxy-Connection Server Location".split()
) | st.binary(min_size=1, max_size=5)
_VALUES = st.sampled_from(
    [b"", b"0", b"5", b"5, 5", b"-1", b"chunked", b"Chunked", b"gzip", b"identity", b"close", b"keep-alive", b"upgrade, x-any",
     b"websocket", b"NTLM", b"Basic, Negotiate x", b"text/event-stream; x", b"a\xffb", b"x"]
) | st.binary(max_size=10)  # fmt: skip
_LINES = st.tuples(
    _NAMES, st.sampled_from([b": ", b":", b" :"]), _VALUES, st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r\n "])
).map(b"".join)
_STARTS = st.tuples(
    st.sampled_from([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2 ", b"ICY "]),
    st.sampled_from([b"200 OK", b"200", b"204 No Content", b"304 ", b"101 Switching", b"100 Continue", b"103 ", b"999 \xff", b"99 x"]),
    st.sampled_from([b"\r\n", b"\r\n", b"\n"]),
).map(b"".join)  # fmt: skip
_PIECES = _VALUES | _LINES | st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"HTTP/1.0 ", b"101", b"204"])
_HEADS = st.tuples(
    _STARTS, st.lists(_LINES, max_size=5).map(b"".join), st.sampled_from([b"\r\n", b"\r\nBODY", b"", b"\n"])
).map(b"".join)
_HTTP1 = "ferry.protocol.http1."
TARGET = Target(
    "answers", grown("answers", _HEADS, _PIECES), check, (_HTTP1 + "response", _HTTP1 + "octets"), in_tests=200
)
