"""A local service's head, held to the same rules as a visitor's: its owner may be hostile to those who visit."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

from ferry.errors import RemoteProtocolError

from .framing import Framing
from .octets import content_length, count_fields, list_tokens
from .request import Reader
from .rules import RESPONSE_RULES, Rule, binds_connection


@dataclass(slots=True)
class ResponseHead:
    """One response (or one interim response), as it will be sent on."""

    status: int
    status_line: bytes
    """Code and reason: `200 OK`."""
    fields: list[tuple[bytes, bytes]]
    framing: Framing
    length: int
    """What Content-Length says; -1 where there is none. It counts a body only where `framing` is LENGTH."""
    keep_alive: bool
    """The connection to the service may carry another request, as far as this head can tell."""
    upgrade: bytes
    binds_connection: bool
    """Asks for NTLM or Negotiate."""


def parse_response(head: bytes, *, method: bytes, most_fields: int) -> ResponseHead:
    """Read one whole head that answers a `method` request. Raises RemoteProtocolError with status 502."""
    try:
        return _parse(head, method, most_fields)
    except RemoteProtocolError as error:
        # RFC 9110 §15.6.3: whatever is wrong with it, to the visitor it is a bad gateway
        raise RemoteProtocolError(str(error), status=502) from None


def _parse(head: bytes, method: bytes, most_fields: int) -> ResponseHead:
    count = count_fields(head, most=most_fields)
    status, status_line, http10 = _status_line(head[: head.index(b"\r\n")])
    reader = Reader()
    try:
        httptools.HttpResponseParser(reader).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise RemoteProtocolError(f"the head cannot be parsed: {error}") from None
    if not reader.complete or len(reader.fields) != count:
        raise RemoteProtocolError("the head can be read in two ways")
    return _judge(status, status_line, http10, reader.fields, method)


def _status_line(line: bytes) -> tuple[int, bytes, bool]:
    """RFC 9112 §4. The reason may be missing with its space, as many services send it."""
    version, code, gap = line[:9], line[9:12], line[12:13]
    if version not in (b"HTTP/1.1 ", b"HTTP/1.0 ") or len(code) != 3 or not code.isdigit() or gap not in (b"", b" "):
        raise RemoteProtocolError("the status line is not HTTP/1.1 CODE REASON")
    if code < b"100":
        raise RemoteProtocolError("the status code is below 100")
    return int(code), line[9:].rstrip(), version == b"HTTP/1.0 "


def _judge(
    status: int, status_line: bytes, http10: bool, received: list[tuple[bytes, bytes]], method: bytes
) -> ResponseHead:
    fields: list[tuple[bytes, bytes]] = []
    length = -1
    coding = upgrade = b""
    connection: list[bytes] = []
    binds = False
    rules = RESPONSE_RULES
    for pair in received:
        rule = rules.get(pair[0].lower())
        if rule is None:
            fields.append(pair)
        elif rule is Rule.LENGTH:
            # RFC 9112 §6.3 rule 5 lets equal duplicates pass. Stricter, as in requests.
            if length >= 0:
                raise RemoteProtocolError("Content-Length is given twice")
            length = content_length(pair[1])
        elif rule is Rule.CODING:
            # RFC 9112 §6.1: one coding, chunked, is what we can read
            if coding or pair[1].lower() != b"chunked":
                raise RemoteProtocolError("Transfer-Encoding is not exactly `chunked`")
            coding = b"chunked"
        elif rule is Rule.CONNECTION:
            connection += list_tokens(pair[1])
        elif rule is Rule.UPGRADE:
            upgrade = pair[1]
        elif rule is Rule.AUTHENTICATION:
            binds = binds or binds_connection(pair[1])
            fields.append(pair)
    if coding and (length >= 0 or http10):
        # RFC 9112 §6.1, §6.3 rule 3: two framings, or one that HTTP/1.0 has not
        raise RemoteProtocolError("Transfer-Encoding is given with Content-Length or in HTTP/1.0")
    if named := set(connection) - {b"close", b"keep-alive", b"upgrade"}:
        fields = [field for field in fields if field[0].lower() not in named]
    framing = _framing(status, method, coding, length)
    keep_alive = framing is not Framing.CLOSE and b"close" not in connection
    if http10 and b"keep-alive" not in connection:
        keep_alive = False
    if status < 200 or status == 204:
        # RFC 9110 §8.6, RFC 9112 §6.1: no framing in 1xx and 204. Where one announces a body, one may follow.
        keep_alive = keep_alive and not coding and length <= 0
        length = -1
    return ResponseHead(status, status_line, fields, framing, length, keep_alive, upgrade, binds)


def _framing(status: int, method: bytes, coding: bytes, length: int) -> Framing:
    """RFC 9112 §6.3, rules 1 to 8 in their order (2xx to CONNECT cannot happen)."""
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE
    if coding:
        return Framing.CHUNKED
    return Framing.LENGTH if length >= 0 else Framing.CLOSE
