"""Parses and checks a local service's head by the same rules as a visitor's: a service may attack its visitors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httptools

from ferry.errors import RemoteProtocolError

from .framing import Framing
from .octets import HeadCheck, content_length, list_tokens, read_fields
from .rules import RESPONSE_RULES, Rule, binds_connection, end_to_end, response_rule

# Names as plain globals: looking a member up on its class for every field is slower.
_rule = RESPONSE_RULES.get
_KEEP, _LENGTH, _CODING, _CONNECTION = Rule.KEEP, Rule.LENGTH, Rule.CODING, Rule.CONNECTION
_UPGRADE, _AUTHENTICATION = Rule.UPGRADE, Rule.AUTHENTICATION

# RFC 9112 §4. The reason may be missing with its space, as many services send it.
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) (([1-9][0-9]{2})(?: [\t -~\x80-\xff]*+)?)\r\n")

_BEGINNING: Final = b"HTTP/1."


def check_beginning(part: bytes) -> None:
    """Refuse bytes that cannot begin a head before the head is complete: they may be left over from an earlier answer, or
    from a protocol whose service waits for the client to speak first. Raises RemoteProtocolError with status 502."""
    if not _BEGINNING.startswith(part[: len(_BEGINNING)]):
        raise RemoteProtocolError("it does not begin with HTTP/1.", status=502)


@dataclass(slots=True)
class ResponseHead:
    """One response (or one interim response) to be sent on."""

    status: int
    status_line: bytes
    """Code, space and reason: `200 OK`."""
    fields: list[tuple[bytes, bytes]]
    framing: Framing
    length: int
    """The value of Content-Length; -1 without one. It is a body's length only if `framing` is LENGTH."""
    keep_alive: bool
    """The connection to the service may carry another request, as far as this head can tell."""
    upgrade: bytes
    binds_connection: bool
    """Asks for NTLM or Negotiate."""
    written: bytes = b""
    """The last result of `serialize.response_head`, cached because one head answers many requests within a second,"""
    written_framing: Framing | None = None
    """the framing of that result,"""
    written_connection: bytes = b""
    """and its Connection field."""

    @property
    def event_stream(self) -> bool:
        """Its body is a stream of events (WHATWG HTML §9.2), which may be silent for any time."""
        return any(
            name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in self.fields
        )


def parse_response(head: bytes, *, method: bytes, most_fields: int) -> ResponseHead:
    """Read one whole head that answers a `method` request. Raises RemoteProtocolError with status 502."""
    try:
        return _parse(head, method, most_fields)
    except RemoteProtocolError as error:
        # RFC 9110 §15.6.3: whatever is wrong with it, to the visitor it is a bad gateway
        raise RemoteProtocolError(str(error), status=502) from None


def _parse(head: bytes, method: bytes, most_fields: int) -> ResponseHead:
    fields = read_fields(head, most=most_fields)
    line = _STATUS_LINE.match(head)
    if line is None:
        raise RemoteProtocolError("the status line is not HTTP/1.1 CODE REASON")
    check = HeadCheck()
    try:
        httptools.HttpResponseParser(check).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise RemoteProtocolError(f"the head cannot be parsed: {error}") from None
    if not check.complete:
        raise RemoteProtocolError("the head can be read in two ways")
    return _judge(int(line[3]), line[2] if len(line[2]) > 3 else line[2] + b" ", line[1] == b"0", fields, method)


def _judge(
    status: int, status_line: bytes, http10: bool, received: list[tuple[bytes, bytes]], method: bytes
) -> ResponseHead:
    fields: list[tuple[bytes, bytes]] = []
    length = -1
    coding = upgrade = b""
    connection: list[bytes] = []
    binds = False
    for field in received:
        name, value = field
        rule = _rule(name) or response_rule(name)
        if rule is _KEEP:
            fields.append(field)
        elif rule is _LENGTH:
            # RFC 9112 §6.3 rule 5 lets equal duplicates pass. Stricter, as in requests.
            if length >= 0:
                raise RemoteProtocolError("Content-Length is given twice")
            length = content_length(value)
        elif rule is _CODING:
            # RFC 9112 §6.1: one coding, chunked, is what we can read
            if coding or value.lower() != b"chunked":
                raise RemoteProtocolError("Transfer-Encoding is not exactly `chunked`")
            coding = b"chunked"
        elif rule is _CONNECTION:
            connection += list_tokens(value)
        elif rule is _UPGRADE:
            upgrade = value
        elif rule is _AUTHENTICATION:
            binds = binds or binds_connection(value)
            fields.append(field)
    if coding and (length >= 0 or http10):
        # RFC 9112 §6.1, §6.3 rule 3: two framings, or one that HTTP/1.0 has not
        raise RemoteProtocolError("Transfer-Encoding is given with Content-Length or in HTTP/1.0")
    fields = end_to_end(fields, connection)
    framing = _framing(status, method, coding, length)
    keep_alive = framing is not Framing.CLOSE and b"close" not in connection
    if http10 and b"keep-alive" not in connection:
        keep_alive = False
    if status == 204:
        # RFC 9110 §8.6, RFC 9112 §6.1: no framing in 204 (nor in 1xx: `serialize.interim_head`). Where one announces a
        # body, one may follow.
        keep_alive = keep_alive and not coding and length <= 0
        length = -1
    elif framing is Framing.NONE and (coding or length > 0):
        # RFC 9112 §6.3 rule 1: what HEAD or 304 announces does not follow. Stricter: the stream is not used again,
        # because services that send it all the same are common, and it would be read as the next visitor's answer.
        keep_alive = False
    return ResponseHead(status, status_line, fields, framing, length, keep_alive, upgrade, binds)


def _framing(status: int, method: bytes, coding: bytes, length: int) -> Framing:
    """RFC 9112 §6.3, rules 1 to 8 in their order (2xx to CONNECT cannot happen)."""
    if method == b"HEAD" or status < 200 or status in (204, 304):
        return Framing.NONE
    if coding:
        return Framing.CHUNKED
    return Framing.LENGTH if length >= 0 else Framing.CLOSE
