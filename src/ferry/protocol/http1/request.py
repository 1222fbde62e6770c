"""Parses and checks a visitor's head."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import httptools

from ferry.errors import RemoteProtocolError

from .authority import Authority, parse_authority
from .framing import CHUNKED
from .octets import VISIBLE, HeadCheck, content_length, is_token, list_tokens, read_fields
from .rules import (
    IDEMPOTENT,
    METHODS,
    REQUEST_RULES,
    Rule,
    binds_connection,
    end_to_end,
    request_rule,
)

ALLOW: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"  # the field of a 405 (RFC 9110 §15.5.6)
# Names as plain globals: looking a member up on its class for every field is slower.
_rule = REQUEST_RULES.get
_KEEP, _HOST, _CONNECTION, _LENGTH, _CODING = Rule.KEEP, Rule.HOST, Rule.CONNECTION, Rule.LENGTH, Rule.CODING
_UPGRADE, _EXPECT, _AUTHENTICATION, _LOOP = Rule.UPGRADE, Rule.EXPECT, Rule.AUTHENTICATION, Rule.LOOP
# RFC 9112 §3: method SP request-target SP HTTP-version. Stricter: no other whitespace is taken for SP.
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Z]++) ([!\"$-~]++) HTTP/1\.([01])\r\n")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")  # RFC 9112 §2.3
_NEVER_NAMED: Final = frozenset((b"host", b"content-length", b"transfer-encoding"))


@dataclass(slots=True)
class RequestHead:
    """One request to be sent on. `fields` holds only the fields that pass, in order, with names in the visitor's case."""

    method: bytes
    target: bytes
    """Origin form (RFC 9112 §3.2.1), or `*`."""
    authority: bytes
    """`Host` as the visitor wrote it."""
    host: str
    """The name to route by: lower-case, no port, no final dot."""
    fields: list[tuple[bytes, bytes]]
    length: int
    """Bytes of body, or CHUNKED."""
    keep_alive: bool
    http10: bool
    """The visitor speaks HTTP/1.0: no chunked coding and no 1xx may be sent to it."""
    upgrade: bytes
    """The protocols it wants to switch to, as it wrote them; empty for none."""
    expects_continue: bool
    binds_connection: bool
    """Carries NTLM or Negotiate credentials."""
    loop: bytes = b""
    """The proxies that it passed through, if they add CDN-Loop (RFC 8586)."""

    @property
    def may_retry(self) -> bool:
        """RFC 9110 §9.2.2: the method is idempotent, and the request has no body, which may be sent already."""
        return self.length == 0 and self.method in IDEMPOTENT


def parse_request(head: bytes, *, most_fields: int) -> RequestHead:
    """Read one whole head (`octets.head_length` has found its end).

    Raises RemoteProtocolError with the status to answer. After that the connection must be closed: it is not certain
    where the next message begins.
    """
    fields = read_fields(head, most=most_fields)
    line = _REQUEST_LINE.match(head)
    if line is None or line[1] not in METHODS:
        _refuse_line(head[: head.index(b"\r\n")])
        raise RemoteProtocolError("the request line is malformed")
    check = HeadCheck()
    try:
        httptools.HttpRequestParser(check).feed_data(head)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise RemoteProtocolError(f"the head cannot be parsed: {error}") from None
    # Two parsers must have seen the same message end at the same place.
    if not check.complete:
        raise RemoteProtocolError("the head can be read in two ways")
    return _judge(line[1], line[2], line[3] == b"0", fields)


def check_request_line(part: bytes, *, seen: int = 0) -> None:
    """Refuse an invalid request line before the other lines have arrived: a client that sends `GET /` alone (HTTP/0.9)
    waits for an answer. A line that was complete in the first `seen` bytes was checked before. Raises RemoteProtocolError
    as `parse_request` does."""
    end = part.find(b"\r\n")
    if end + 2 > seen and end >= 0 and ((line := _REQUEST_LINE.match(part)) is None or line[1] not in METHODS):
        _refuse_line(part[:end])


def _refuse_line(line: bytes) -> None:
    """Raise the error for a first line that does not match `_REQUEST_LINE` or has a method that is not in METHODS."""
    parts = line.split(b" ")
    if len(parts) != 3:
        raise RemoteProtocolError("the request line is not METHOD TARGET HTTP/1.1")  # HTTP/0.9 ends here too
    method, target, version = parts
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        # RFC 9110 §15.6.6: 505 for a major version that is not spoken. Stricter: minor versions but 0 and 1 are 400.
        status = 505 if _VERSION.fullmatch(version) and version[5:6] != b"1" else 400
        raise RemoteProtocolError("the version is neither HTTP/1.1 nor HTTP/1.0", status=status)
    # RFC 9112 §3.2: no whitespace or control characters. Stricter: no octet above 0x7E and no fragment either.
    if not target or target.translate(None, VISIBLE) or b"#" in target:
        raise RemoteProtocolError("the request target holds a character that must be percent-encoded")
    # RFC 9110 §9.3.8: TRACE reflects credentials
    if method == b"TRACE":
        raise RemoteProtocolError("TRACE is not served", status=405)
    # RFC 9110 §9.1: methods are case-sensitive. Stricter: one with lower-case letters is taken for a mistake.
    if not is_token(method) or method != method.upper():
        raise RemoteProtocolError("the method is malformed")
    # RFC 9110 §9.3.6 (CONNECT) and §15.6.2
    raise RemoteProtocolError("the method is not implemented", status=501)


def _judge(method: bytes, target: bytes, http10: bool, received: list[tuple[bytes, bytes]]) -> RequestHead:
    fields: list[tuple[bytes, bytes]] = []
    hosts: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    connection: list[bytes] = []
    upgrade = loop = b""
    expects = binds = False
    for field in received:
        name, value = field
        rule = _rule(name) or request_rule(name)
        if rule is _KEEP:
            fields.append(field)
        elif rule is _HOST:
            hosts.append(value)
        elif rule is _CONNECTION:
            connection += list_tokens(value)
        elif rule is _LENGTH:
            lengths.append(value)
        elif rule is _CODING:
            codings.append(value)
        elif rule is _UPGRADE:
            upgrade = upgrade + b", " + value if upgrade else value
        elif rule is _EXPECT:
            expects = _expects_continue(field, expects, http10, fields)
        elif rule is _AUTHENTICATION:
            binds = binds or binds_connection(value)
            fields.append(field)
        elif rule is _LOOP and value:
            loop = loop + b", " + value if loop else value
    length = _body_length(lengths, codings, http10) if lengths or codings else 0
    authority, host, target = _authority(hosts, method, target)
    keep_alive = not http10
    if connection:
        # RFC 9110 §7.6.1: it must not name what is for every recipient
        if not _NEVER_NAMED.isdisjoint(connection):
            raise RemoteProtocolError("Connection names a field that is not for one hop")
        fields = end_to_end(fields, connection)
        # RFC 9112 §9.3: close wins; HTTP/1.0 persists only where it asks to
        keep_alive = b"close" not in connection and (not http10 or b"keep-alive" in connection)
    if upgrade:
        upgrade = _upgrade(upgrade, connection, http10, length)
    return RequestHead(
        method, target, authority, host.host, fields, length, keep_alive, http10, upgrade, expects, binds, loop
    )  # fmt: skip


def _body_length(lengths: list[bytes], codings: list[bytes], http10: bool) -> int:
    if not codings:
        # RFC 9112 §6.3 rule 5 lets equal duplicates pass. Stricter: one Content-Length, with one value.
        if len(lengths) > 1:
            raise RemoteProtocolError("Content-Length is given twice")
        return content_length(lengths[0])
    # RFC 9112 §6.3 rule 3 and §6.1: Transfer-Encoding overrides Content-Length, and that "ought to be handled as an
    # error". It is.
    if lengths:
        raise RemoteProtocolError("both Content-Length and Transfer-Encoding are given")
    # RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0 means faulty framing
    if http10:
        raise RemoteProtocolError("Transfer-Encoding is given in an HTTP/1.0 request")
    if len(codings) > 1:
        raise RemoteProtocolError("Transfer-Encoding is given twice")
    coding = codings[0].lower()
    if coding != b"chunked":
        # RFC 9112 §6.1: 501 for a coding that is not understood; 400 for what is no coding at all
        status = 501 if all(map(is_token, list_tokens(coding))) and coding else 400
        raise RemoteProtocolError("Transfer-Encoding is not exactly `chunked`", status=status)
    return CHUNKED


def _authority(hosts: list[bytes], method: bytes, target: bytes) -> tuple[bytes, Authority, bytes]:
    """The Host as written and as parsed, and the target in origin form."""
    # RFC 9112 §3.2: 400 for a missing, repeated or invalid Host. Stricter: HTTP/1.0 needs one too, or there is no
    # name to route by.
    if len(hosts) != 1:
        raise RemoteProtocolError("Host is given twice" if hosts else "Host is missing")
    host = parse_authority(hosts[0])
    if target[0] == 0x2F:  # "/"
        return hosts[0], host, target
    if target == b"*":
        # RFC 9112 §3.2.4: the asterisk form is for OPTIONS
        if method == b"OPTIONS":
            return hosts[0], host, target
        raise RemoteProtocolError("the target * is for OPTIONS only")
    scheme, _, tail = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https"):
        raise RemoteProtocolError("the request target is neither a path nor an http URL")
    cut = min((at for at in (tail.find(b"/"), tail.find(b"?")) if at >= 0), default=len(tail))
    # RFC 9112 §3.2.2: the target's authority overrides Host. Stricter: they must agree, or it is not forwarded.
    if parse_authority(tail[:cut]) != host:
        raise RemoteProtocolError("Host and the request target name different authorities")
    path = tail[cut:]
    if not path.startswith(b"/"):
        # RFC 9112 §3.2.4: an absolute form without path and query stands for "*" in OPTIONS
        path = b"*" if method == b"OPTIONS" and not path else b"/" + path
    return hosts[0], host, path


def _expects_continue(
    pair: tuple[bytes, bytes], already: bool, http10: bool, fields: list[tuple[bytes, bytes]]
) -> bool:
    # RFC 9110 §10.1.1: 417 for an unknown expectation; ignored in HTTP/1.0. Stricter: it is a list there, but one
    # expectation is all that is served, and services differ in what they make of two.
    if already or pair[1].lower() != b"100-continue":
        raise RemoteProtocolError("the only expectation served is 100-continue, once", status=417)
    if http10:
        return False
    fields.append(pair)
    return True


def _upgrade(upgrade: bytes, connection: list[bytes], http10: bool, length: int) -> bytes:
    """The protocols to pass on, or empty where the upgrade is ignored (RFC 9110 §7.8 lets a server ignore it)."""
    # RFC 9110 §7.8: ignored in HTTP/1.0, and without the connection option
    if http10 or b"upgrade" not in connection:
        return b""
    offered = list_tokens(upgrade)
    # RFC 9113 §3.1 has withdrawn h2c; behind us it would be an unseen second protocol. Clients that offer it (curl
    # --http2, Java) go on in HTTP/1.1 without.
    if b"h2c" in offered or not offered:
        return b""
    # Stricter than RFC 9110 §7.8: where a body ends and the new protocol begins is read differently by many servers
    if length:
        raise RemoteProtocolError("an upgrade request has a body")
    return upgrade
