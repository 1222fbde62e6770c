"""Serialises heads from their values (RFC 9112 §3, §4, §5). Nothing is copied from the incoming bytes."""

from __future__ import annotations

import ipaddress

from .framing import CHUNKED, Framing
from .request import RequestHead
from .response import ResponseHead

_field = b": ".join
_lines = b"\r\n".join


def numeric_host(host: str) -> str:
    """A visitor's address in the form that services expect: without a zone, IPv4-mapped IPv6 as IPv4."""
    if ":" not in host:
        return host  # the kernel writes IPv4 in one way only
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def forwarding_fields(host: str, authority: bytes, *, secure: bool, port: int) -> bytes:
    """The fields that tell the service who visits and how, each line with its CRLF. They are the same for all
    requests to one authority on one connection, so the caller keeps them.

    `host` is `numeric_host` of the visitor, `port` the one that the visitor knows us by.
    """
    proto = "https" if secure else "http"
    # RFC 7239 §6: IPv6 in brackets and quoted; host quoted where it has a port
    node = f'"[{host}]"' if ":" in host else host
    written = authority.decode("ascii")
    named = f'"{written}"' if ":" in written else written
    return (
        f"X-Forwarded-For: {host}\r\nX-Forwarded-Proto: {proto}\r\nX-Forwarded-Host: {written}\r\n"
        f"X-Forwarded-Port: {port}\r\nForwarded: for={node};host={named};proto={proto}\r\n"
    ).encode("ascii")


def loop_field(carried: bytes, mark: bytes) -> bytes:
    """CDN-Loop (RFC 8586 §2) with its CRLF: what came, unchanged, and `mark` behind it."""
    return b"CDN-Loop: %b, %b\r\n" % (carried, mark) if carried else b"CDN-Loop: %b\r\n" % mark


def request_head(request: RequestHead, forwarding: bytes, host: bytes = b"") -> bytes:
    """The head that the service gets: always HTTP/1.1, one Host, one framing, our forwarding fields. `host` stands in
    place of the visitor's Host, if it is not empty."""
    length = request.length
    if length > 0:
        framing = b"Content-Length: %d\r\n" % length
    elif length == CHUNKED:
        framing = b"Transfer-Encoding: chunked\r\n"
    elif request.method in (b"POST", b"PUT", b"PATCH"):
        framing = b"Content-Length: 0\r\n"  # RFC 9110 §8.6: expected where a method gives a body meaning
    else:
        framing = b""
    if request.upgrade:
        framing += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade
    return b"".join(
        (
            request.method,
            b" ",
            request.target,
            b" HTTP/1.1\r\nHost: ",
            host or request.authority,
            b"\r\n",
            forwarding,
            _lines(map(_field, request.fields)),
            b"\r\n" if request.fields else b"",
            framing,
            b"\r\n",
        )
    )


def response_head(response: ResponseHead, framing: Framing, connection: bytes) -> bytes:
    """The head that the visitor gets. `framing` is how the body is sent to it, which need not be how it came;
    `connection` is `close`, `keep-alive`, or empty for the version's default."""
    tail = b""
    if framing is Framing.CHUNKED:
        tail = b"Transfer-Encoding: chunked\r\n"
    elif response.length >= 0 and framing is not Framing.CLOSE:
        tail = b"Content-Length: %d\r\n" % response.length
    if connection:
        tail += b"Connection: %b\r\n" % connection
    response.written_framing, response.written_connection = framing, connection
    response.written = b"".join(
        (
            b"HTTP/1.1 ",
            response.status_line,
            b"\r\n",
            _lines(map(_field, response.fields)),
            b"\r\n" if response.fields else b"",
            tail,
            b"\r\n",
        )
    )
    return response.written


def interim_head(response: ResponseHead) -> bytes:
    """A 1xx head for the visitor (RFC 9110 §15.2); 101 names the protocol that both switch to."""
    tail = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % response.upgrade if response.status == 101 else b""
    fields = b"".join(b"%b: %b\r\n" % pair for pair in response.fields)
    return b"".join((b"HTTP/1.1 ", response.status_line, b"\r\n", fields, tail, b"\r\n"))
