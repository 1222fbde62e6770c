"""Heads: limits, rewriting, and the agreement of two parsers."""

from __future__ import annotations

import string
from contextlib import nullcontext
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.authority import parse_authority
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.octets import head_length, list_tokens
from ferry.protocol.http1.request import check_request_line, parse_request
from ferry.protocol.http1.response import check_beginning, parse_response
from ferry.protocol.http1.serialize import (
    forwarding_fields,
    interim_head,
    numeric_host,
    request_head,
    response_head,
)

GET = b"GET / HTTP/1.1\r\nHost: a.localhost\r\n"


@pytest.mark.parametrize(
    ("value", "members"),
    [
        (b"", []),
        (b",", []),
        (b" , \t", []),
        (b"Close", [b"close"]),
        (b"Close, ,keep-Alive ,", [b"close", b"keep-alive"]),
    ],
)
def test_a_list_has_no_empty_members(value: bytes, members: list[bytes]) -> None:
    assert list_tokens(value) == members


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        (b"GET http://a.localhost", b"/"),
        (b"OPTIONS http://a.localhost", b"*"),
        (b"GET http://a.localhost?q", b"/?q"),
        (b"OPTIONS http://a.localhost?q", b"/?q"),
    ],
)
def test_an_absolute_form_without_a_path_stands_for_the_root_or_for_all_of_the_server(
    asked: bytes, target: bytes
) -> None:
    """RFC 9112 §3.2.4: for the server in OPTIONS alone."""
    request = parse_request(asked + b" HTTP/1.1\r\nHost: a.localhost\r\n\r\n", most_fields=9)
    assert request.target == target


def length_of(data: bytes) -> int:
    return head_length(data, line_limit=100, head_limit=200)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 100, 414),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n\r\n", 414),
        (GET + b"X: " + b"a" * 200, 431),
        (GET + b"X: " + b"a" * 200 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\n", 400),
        (GET + b"X: y\n", 400),
        (b"\x16\x03\x01\x00\n", 400),
    ],
)
def test_head_that_is_refused_before_its_end(data: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        length_of(data)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (b"G", 0),
        (b"GET / HTTP/1.1", 0),
        (b"GET / HTTP/1.1\r\nHo", 0),
        (b"GET /", 0),
        (b"GET /\r\n", 400),
        (b"TRACE / HTTP/1.1\r\nHo", 405),
        (b"BREW / HTTP/1.1\r\n", 501),
        (b"GET / HTTP/3.0\r\n", 505),
    ],
)
def test_a_first_line_that_begins_no_request_is_refused_once_it_is_whole(part: bytes, status: int) -> None:
    found = 0
    try:
        check_request_line(part)
    except RemoteProtocolError as refused:
        found = refused.status
    assert found == status


def test_head_length_is_exact_and_found_at_any_cut() -> None:
    head = GET + b"X: y\r\n\r\n"
    assert length_of(head + b"BODY\n") == len(head)
    longer = GET + b"X: ".ljust(120, b"y") + b"\r\n\r\n"  # than a first line may be
    assert length_of(longer) == len(longer)
    assert [length_of(head[:cut]) for cut in range(len(head))] == [0] * len(head)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (b"X: a\x00b", "control character"),
        (b"X: a\rb", "control character"),
        (b"X: y\r\n z", "folded"),
        (b"X: y\r\n\tz", "folded"),
        (b"X : y", "not NAME: VALUE"),
        (b"X", "not NAME: VALUE"),
        (b": y", "not NAME: VALUE"),
    ],
)
def test_a_malformed_field_is_refused_with_its_error(lines: bytes, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        parse_request(GET + lines + b"\r\n\r\n", most_fields=9)


def test_too_many_fields() -> None:
    head = GET + b"".join(b"F%d: x\r\n" % i for i in range(100)) + b"\r\n"
    with pytest.raises(RemoteProtocolError) as refused:
        parse_request(head, most_fields=100)
    assert refused.value.status == 431


def test_hostile_line_costs_no_more_than_its_length() -> None:
    head = GET + b"X:" + b" " * 15000 + b"\x00\r\n\r\n"  # quadratic matching would take seconds
    with pytest.raises(RemoteProtocolError, match="control character"):
        parse_request(head, most_fields=100)


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: keep-alive, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive\r\nConnection: close\r\n", False),
    ],
)
def test_persistence(version: bytes, connection: bytes, keep_alive: bool) -> None:
    head = b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, connection)
    assert parse_request(head, most_fields=9).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("method", "field", "may"),
    [
        (b"GET", b"", True),
        (b"PUT", b"Content-Length: 0\r\n", True),
        (b"PUT", b"Content-Length: 1\r\n", False),
        (b"PUT", b"Transfer-Encoding: chunked\r\n", False),
        (b"POST", b"Content-Length: 0\r\n", False),
        (b"PATCH", b"", False),
    ],
)
def test_a_repeatable_request_is_idempotent_and_complete(method: bytes, field: bytes, may: bool) -> None:
    head = b"%b / HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, field)
    assert parse_request(head, most_fields=9).may_retry is may


def test_upgrade_is_written_anew_and_expect_is_kept() -> None:
    head = GET + b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n"
    request = parse_request(head, most_fields=9)
    assert request_head(request, b"F: g\r\n") == (
        b"GET / HTTP/1.1\r\nHost: a.localhost\r\nF: g\r\nSec-WebSocket-Key: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"
    )
    expecting = parse_request(GET + b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", most_fields=9)
    assert expecting.expects_continue
    assert b"Expect: 100-Continue\r\n" in request_head(expecting, b"")
    old = parse_request(
        b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", most_fields=9
    )
    assert not old.expects_continue
    assert b"Expect" not in request_head(old, b"")


def test_credentials_that_bind_the_connection() -> None:
    for scheme, binds in ((b"NTLM TlRM", True), (b"negotiate YII", True), (b"Basic eDp5", False), (b"Bearer x", False)):
        assert parse_request(GET + b"Authorization: %b\r\n\r\n" % scheme, most_fields=9).binds_connection is binds
        answer = b"HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\nWWW-Authenticate: %b\r\n\r\n" % scheme
        assert parse_response(answer, method=b"GET", most_fields=9).binds_connection is binds


def test_forwarding_fields() -> None:
    assert forwarding_fields("192.0.2.1", b"a.example", secure=True, port=443) == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example\r\n"
        b"X-Forwarded-Port: 443\r\nForwarded: for=192.0.2.1;host=a.example;proto=https\r\n"
    )
    assert forwarding_fields("2001:db8::1", b"a.example:8080", secure=False, port=8080).endswith(
        b'Forwarded: for="[2001:db8::1]";host="a.example:8080";proto=http\r\n'
    )
    assert [numeric_host(host) for host in ("::ffff:192.0.2.1", "fe80::1%eth0", "192.0.2.1")] == [
        "192.0.2.1",
        "fe80::1",
        "192.0.2.1",
    ]


def test_response_is_written_anew() -> None:
    head = (
        b"HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"content-length: 0005\r\nSet-Cookie: a\r\nUpgrade: h2\r\nSet-Cookie: b\r\n\r\n"
    )
    response = parse_response(head, method=b"GET", most_fields=20)
    fields = b"HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    assert response_head(response, Framing.LENGTH, b"") == fields + b"Content-Length: 5\r\n\r\n"
    assert response_head(response, Framing.CHUNKED, b"close") == (
        fields + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    assert response_head(response, Framing.CLOSE, b"close") == fields + b"Connection: close\r\n\r\n"
    without_length = parse_response(b"HTTP/1.1 304 Same\r\nA: b\r\n\r\n", method=b"GET", most_fields=20)
    assert response_head(without_length, Framing.NONE, b"") == b"HTTP/1.1 304 Same\r\nA: b\r\n\r\n"
    switching = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n"
    assert interim_head(parse_response(switching, method=b"GET", most_fields=20)) == (
        b"HTTP/1.1 101 Switching\r\nA: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("part", "begins"),
    [(b"", True), (b"HTT", True), (b"HTTP/1.1 200", True), (b"HTTX", False), (b"SSH-2.0-x", False), (b"HTTP/2", False)],
)
def test_the_beginning_of_an_answer_is_checked_before_its_end(part: bytes, *, begins: bool) -> None:
    with nullcontext() if begins else pytest.raises(RemoteProtocolError, match=r"it does not begin with HTTP/1\."):
        check_beginning(part)


@pytest.mark.parametrize(
    ("field", "streams"),
    [
        (b"content-type: Text/Event-Stream; x", True),
        (b"Content-Type: text/html", False),
        (b"X: text/event-stream", False),
    ],
)
def test_a_stream_of_events_is_known_by_its_type(field: bytes, *, streams: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n"
    assert parse_response(head, method=b"GET", most_fields=9).event_stream is streams


@pytest.mark.parametrize(
    ("method", "status", "framing", "keep_alive"),
    [
        (b"HEAD", b"200", b"", True),
        (b"HEAD", b"200", b"Content-Length: 0\r\n", True),
        (b"HEAD", b"200", b"Content-Length: 5\r\n", False),
        (b"HEAD", b"200", b"Transfer-Encoding: chunked\r\n", False),
        (b"GET", b"304", b"Transfer-Encoding: chunked\r\n", False),
        (b"GET", b"204", b"Transfer-Encoding: chunked\r\n", False),
        (b"GET", b"204", b"Content-Length: 5\r\n", False),
        (b"GET", b"204", b"Content-Length: 0\r\n", True),
        (b"GET", b"200", b"Content-Length: 5\r\n", True),
        (b"GET", b"200", b"Transfer-Encoding: chunked\r\n", True),
    ],
)
def test_a_stream_on_which_an_announced_body_may_follow_is_not_used_again(
    method: bytes, status: bytes, framing: bytes, *, keep_alive: bool
) -> None:
    head = b"HTTP/1.1 " + status + b" X\r\n" + framing + b"\r\n"
    assert parse_response(head, method=method, most_fields=9).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("method", "status", "fields", "framing"),
    [
        (b"GET", b"103", b"", Framing.NONE),
        (b"GET", b"204", b"", Framing.NONE),
        (b"GET", b"304", b"Content-Length: 5\r\n", Framing.NONE),
        (b"HEAD", b"200", b"Content-Length: 5\r\n", Framing.NONE),
        (b"GET", b"200", b"Content-Length: 5\r\n", Framing.LENGTH),
        (b"GET", b"200", b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED),
        (b"GET", b"200", b"", Framing.CLOSE),
    ],
)
def test_where_the_body_of_an_answer_ends(method: bytes, status: bytes, fields: bytes, framing: Framing) -> None:
    head = b"HTTP/1.1 " + status + b" X\r\n" + fields + b"\r\n"
    assert parse_response(head, method=method, most_fields=9).framing is framing


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Transfer-Encoding: Chunked\r\n", 0),
        (b"Transfer-Encoding: gzip\r\n", 502),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 502),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", 502),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 502),
    ],
)
def test_an_answer_has_one_framing(fields: bytes, status: int) -> None:
    assert verdict_on_answer(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n") == status


def test_authority() -> None:
    assert parse_authority(b"[::1]:80") == ("[::1]", 80)
    assert parse_authority(b"XN--caf-dma.example.") == ("xn--caf-dma.example", None)
    for bad in (b"", b".", b":80", b"a:", b"a b", b"-a", b"a%41", b"[::1", b"::1", b"a" * 254, b"a:65536"):
        with pytest.raises(RemoteProtocolError):
            parse_authority(bad)


@pytest.mark.parametrize("field", [b"CDN-Loop: a; b", b"cdn-loop: a; b"])
def test_the_passed_tunnels_are_read_from_cdn_loop_alone(field: bytes) -> None:
    """Whatever else is dropped (what claims who visits, what is for one hop) stands beside it and says nothing of it."""
    dropped = b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=x\r\nKeep-Alive: timeout=5\r\nX-Real-IP: 192.0.2.2\r\n"
    assert parse_request(GET + dropped + b"\r\n", most_fields=9).loop == b""
    assert parse_request(GET + dropped + field + b"\r\n" + dropped + b"\r\n", most_fields=20).loop == b"a; b"
    again = field + b"\r\n" + dropped + b"CDN-Loop:\r\nCDN-Loop: c\r\n\r\n"
    assert parse_request(GET + again, most_fields=20).loop == b"a; b, c"


def test_a_head_of_which_the_second_parser_sees_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """No head is known that does this. A parser that is replaced by its next release may come to."""

    class Waits:
        def __init__(self, protocol: object) -> None:
            """It calls nothing."""

        def feed_data(self, data: bytes) -> None:
            """It waits for more."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert (verdict(GET + b"\r\n"), verdict_on_answer(answer)) == (0, 0)
    monkeypatch.setattr(httptools, "HttpRequestParser", Waits)
    monkeypatch.setattr(httptools, "HttpResponseParser", Waits)
    assert (verdict(GET + b"\r\n"), verdict_on_answer(answer)) == (400, 502)


TOKENS = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)


class Seen:
    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value.strip(b" \t")))


@given(
    st.lists(st.tuples(TOKENS.map("X-".__add__), VALUES), max_size=8),
    st.text(string.printable[:62] + "/?&=%", max_size=20),
)
def test_both_parsers_read_the_serialised_head_alike(pairs: list[tuple[str, str]], path: str) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    head = f"GET /{path} HTTP/1.1\r\nHost: a.localhost\r\n{fields}\r\n".encode("latin-1")
    request = parse_request(head, most_fields=100)
    seen = Seen()
    httptools.HttpRequestParser(seen).feed_data(head)
    ours = [field for field in seen.fields if not field[0].lower().replace(b"_", b"-").startswith(b"x-")]
    assert ours == [(b"Host", b"a.localhost")]
    # Nothing with another name's meaning was generated but what a visitor may not say of itself.
    kept = [f for f in seen.fields[1:] if f in request.fields]
    assert kept == request.fields
    assert all(
        b"forwarded" in f[0].lower() or b"-ip" in f[0].lower().replace(b"_", b"-")
        for f in seen.fields[1:]
        if f not in kept
    )
    written = request_head(request, b"")
    again = parse_request(written, most_fields=100)
    assert (again.target, again.fields) == (seen.url, request.fields)
    assert request_head(again, b"") == written


def asked_piece_by_piece(data: bytes, size: int) -> int | str:
    """What is said of `data` once enough of it is there, where `size` bytes come at a time."""
    seen = 0
    for end in [*range(size, len(data), size), len(data)]:
        try:
            if found := head_length(data[:end], line_limit=100, head_limit=200, seen=seen):
                return found
            check_request_line(data[:end], seen=seen)
        except RemoteProtocolError as error:
            return f"{error.status} {error}"
        seen = end
    return 0


@given(
    st.lists(
        st.sampled_from([b"GET / HTTP/1.1", b"GET /", b"a: b", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"x" * 99]),
        max_size=12,
    ),
    st.integers(1, 7),
)
def test_the_error_of_a_head_is_the_same_with_and_without_an_early_check(parts: list[bytes], size: int) -> None:
    data = b"".join(parts)

    def forgetful() -> int | str:
        for end in [*range(size, len(data), size), len(data)]:
            try:
                if found := length_of(data[:end]):
                    return found
                check_request_line(data[:end])
            except RemoteProtocolError as error:
                return f"{error.status} {error}"
        return 0

    assert asked_piece_by_piece(data, size) == forgetful()


class Looked(bytes):
    """Counts the bytes that are looked through, as far as a search goes that finds nothing."""

    through = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        Looked.through += min(len(self), len(self) if end is None else end) - start
        return super().find(what, start, end)

    def count(self, what: Any, start: Any = 0, end: Any = None) -> int:
        Looked.through += min(len(self), len(self) if end is None else end) - start
        return super().count(what, start, end)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        Looked.through += len(found) if isinstance(found, bytes) else 1
        return found


def test_a_head_that_comes_byte_by_byte_is_looked_through_a_few_times_and_not_once_for_each_byte() -> None:
    """64 KiB of a service's answer took 4 s of the processor."""
    head = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 2000
    Looked.through = 0
    for end in range(1, len(head) + 1):
        assert not head_length(Looked(head[:end]), line_limit=100, head_limit=64 * 1024, seen=end - 1)
    assert Looked.through < 10 * len(head) + 100 * 102


def verdict(data: bytes) -> int:
    """0, or the status of the refusal."""
    try:
        if end := head_length(data, line_limit=8192, head_limit=16384):
            request_head(parse_request(data[:end], most_fields=100), b"")
    except RemoteProtocolError as refused:
        return refused.status
    return 0


def verdict_on_answer(data: bytes) -> int:
    try:
        parse_response(data, method=b"GET", most_fields=100)
    except RemoteProtocolError as refused:
        return refused.status
    return 0


@given(st.binary(max_size=80))
def test_any_bytes_get_a_clear_verdict(junk: bytes) -> None:
    for data in (junk + b"\r\n\r\n", GET + junk + b"\r\n\r\n"):
        assert verdict(data) in (0, 400, 405, 414, 417, 431, 501, 505)


@given(st.binary(max_size=60))
def test_any_answer_gets_a_clear_verdict(junk: bytes) -> None:
    for data in (junk + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + junk + b"\r\n\r\n"):
        assert verdict_on_answer(data) in (0, 502)
