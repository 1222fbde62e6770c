"""A visitor's head: whatever is taken means the same when it is written anew, and to a parser that is not ours."""

from __future__ import annotations

from dataclasses import dataclass, field

import httptools
from hypothesis import strategies as st

from ferry.errors import RemoteProtocolError
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify
from ferry.protocol.http1.framing import CHUNKED
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import RequestHead, check_request_line, parse_request
from ferry.protocol.http1.rules import METHODS
from ferry.protocol.http1.serialize import forwarding_fields, loop_field, request_head

from .target import Target, grown

LINE, HEAD, FIELDS = 200, 2000, 20
STATUSES = frozenset({400, 405, 414, 417, 431, 501, 505})


@dataclass
class Seen:
    """What httptools hears of one message."""

    url: bytes = b""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.complete = True


def understood(data: bytes) -> RequestHead | None:
    """The head that `data` begins with, if there is one. Checks each refusal, and every moment before the end."""
    size: int | None = None
    try:
        size = head_length(data, line_limit=LINE, head_limit=HEAD)
        head = parse_request(data[:size], most_fields=FIELDS) if size else None
    except RemoteProtocolError as error:
        assert error.status in STATUSES
        assert str(error).isprintable()
        assert str(error).isascii()
        head = None
    if head is None:
        return None
    assert size
    for cut in range(size):  # what is good as a whole is good in pieces
        assert head_length(data[:cut], line_limit=LINE, head_limit=HEAD) == 0
        check_request_line(data[:cut])
    return head


def check(data: bytes) -> None:
    head = understood(data)
    if head is None:
        return
    for cut in range(1, min(len(data), LOOK_BYTES) + 1):
        assert classify(data[:cut]) in (FirstBytes.MORE, FirstBytes.HTTP)
    assert classify(data[:LOOK_BYTES]) is FirstBytes.HTTP
    ours = forwarding_fields("192.0.2.1", head.authority, secure=False, port=80) + loop_field(head.loop, b"ours")
    wire = request_head(head, ours)
    assert head_length(wire, line_limit=len(wire), head_limit=len(wire)) == len(wire)
    again = parse_request(wire, most_fields=FIELDS + 10)
    for name in ("method", "target", "authority", "host", "fields", "length", "upgrade"):
        assert getattr(again, name) == getattr(head, name), name
    assert again.keep_alive
    assert not again.http10
    assert again.loop.endswith(b"ours")
    assert not again.binds_connection or head.binds_connection
    assert not again.expects_continue or head.expects_continue
    seen = Seen()
    try:
        httptools.HttpRequestParser(seen).feed_data(wire)
    except httptools.HttpParserUpgrade:
        assert head.upgrade
    assert seen.complete
    assert seen.url == head.target
    names = [name for name, _ in seen.fields]
    assert names.count(b"host") == 1
    assert names.count(b"x-forwarded-for") == names.count(b"forwarded") == names.count(b"cdn-loop") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    assert (b"transfer-encoding" in names) == (head.length == CHUNKED)
    passed = dict(seen.fields)
    assert int(passed.get(b"content-length", b"0")) == max(head.length, 0)
    assert not {b"keep-alive", b"te", b"trailer", b"proxy-connection", b"x-real-ip", b"remote-user"} & set(names)
    assert {(key.lower(), value) for key, value in head.fields} <= set(seen.fields)


_NAMES = st.sampled_from(
    b"Host host Content-Length content_length Transfer-Encoding Transfer.Encoding Connection Upgrade Expect Te Trailer "
    b"Keep-Alive Authorization CDN-Loop X-Forwarded-For X_Forwarded_For Forwarded Cookie X-Any X-Real-IP Remote-User "
    b"Accept Range Proxy-Connection HTTP2-Settings".split()
) | st.binary(min_size=1, max_size=5)
_VALUES = st.sampled_from(
    [b"", b"a.localhost", b"A.localhost.:80", b"[::1]:8080", b"0", b"5", b"+5", b"5,5", b"chunked", b"gzip, chunked", b"close",
     b"keep-alive", b"upgrade", b"Upgrade, x-any", b"websocket", b"h2c", b"100-continue", b"NTLM x", b"Basic x", b"expect",
     b"x;a=b", b"authorization, upgrade", b"connection", b"host", b"\xff", b"a\tb", b"a b "]
) | st.binary(max_size=12)  # fmt: skip
_TARGETS = st.sampled_from(
    [b"/", b"*", b"/a?b=c", b"http://a.localhost/x", b"http://a.localhost", b"https://a.localhost?q", b"HTTP://A.localhost:80/",
     b"//a", b"/%00", b"/\"", b"/#", b"http://b.localhost/", b"http://u@a.localhost/"]
) | st.binary(max_size=12)  # fmt: skip
_FIELD = st.tuples(
    _NAMES,
    st.sampled_from([b": ", b":", b" : ", b":\t", b""]),
    _VALUES,
    st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n "]),
)
_FIELD_LINES = _FIELD.map(b"".join)
_PIECES = st.one_of(
    st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"HTTP/1.0", b"HTTP/1.1", b",", b"\t", b"Connection: "]),
    _VALUES, _FIELD_LINES, st.binary(max_size=3),
)  # fmt: skip


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    method = draw(st.sampled_from([b"GET", b"POST", b"OPTIONS", *sorted(METHODS), b"TRACE", b"get", b"CONNECT"]))
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0", b"1.2", b"2.0"]))
    lines = draw(st.lists(_FIELD_LINES, max_size=6))
    if draw(st.integers(0, 7)):
        host = draw(st.sampled_from([b"Host: a.localhost\r\n", b"host:A.LOCALHOST.:80\r\n", b"Host: [::1]\r\n"]))
        lines.insert(draw(st.integers(0, len(lines))), host)
    start = b"%b %b HTTP/%b\r\n" % (method, draw(_TARGETS), version)
    return start + b"".join(lines) + draw(st.sampled_from([b"\r\n", b"\r\n", b"\r\nBODY", b"", b"\n"]))


_HTTP1 = "ferry.protocol.http1."
TARGET = Target(
    "heads",
    grown("heads", _heads(), _PIECES),
    check,
    (_HTTP1 + "request", _HTTP1 + "octets", _HTTP1 + "rules", _HTTP1 + "authority", _HTTP1 + "serialize"),
    in_tests=250,
)
