"""The alphabet of a head: the octets that are allowed in each part, and the end of a head.

Each check is one scan in C over the whole head (`bytes.translate`, `bytes.count`), because it is made for every
message.
"""

from __future__ import annotations

import re
from typing import Final

from ferry.errors import RemoteProtocolError

CRLF: Final = b"\r\n"
HEAD_END: Final = b"\r\n\r\n"

_ALPHA: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DIGITS: Final = b"0123456789"
TOKEN: Final = b"!#$%&'*+-.^_`|~" + DIGITS + _ALPHA  # RFC 9110 §5.6.2 tchar
VISIBLE: Final = bytes(range(0x21, 0x7F))  # RFC 5234 VCHAR
FIELD_VALUE: Final = b"\t " + VISIBLE + bytes(range(0x80, 0x100))  # RFC 9110 §5.5, with obs-text

# RFC 9112 §5: name, colon, and the value's words without the whitespace around them. Possessive quantifiers: nothing
# is tried twice, so a hostile line costs no more than its length.
_FIELD: Final = re.compile(
    rb"\n([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+"
    rb"([!-~\x80-\xff]*+(?:[ \t]++[!-~\x80-\xff]++)*+)[ \t]*+(?=\r\n)"
)


def is_token(text: bytes) -> bool:
    """RFC 9110 §5.6.2: one or more tchar."""
    return bool(text) and not text.translate(None, TOKEN)


def head_length(buffer: bytes, *, line_limit: int, head_limit: int, seen: int = 0) -> int:
    """The length of the head that `buffer` begins with, its final empty line included; 0 if more bytes are needed.

    `seen` is the length of `buffer` at the last call. Those bytes are not scanned again: otherwise a head that arrives
    byte by byte costs its length squared (64 KiB took 4 s).
    Raises RemoteProtocolError: 414 for a start line over `line_limit` bytes, 431 for a head over `head_limit`,
    400 as soon as a line ends in anything but CRLF.
    """
    end = buffer.find(HEAD_END, seen - 3 if seen > 3 else 0, head_limit)
    if end >= 0:
        # RFC 9112 §3: 414 for a request-target longer than any the server wishes to parse
        if end > line_limit and not 0 <= buffer.find(CRLF, 0, line_limit + 2) <= line_limit:
            raise RemoteProtocolError(f"the first line is longer than {line_limit} bytes", status=414)
        return end + 4
    # RFC 9112 §2.2 lets a recipient take a bare LF as a line end. We are stricter: servers that do and servers that
    # do not see different messages in the same bytes.
    if buffer.count(b"\n", seen, head_limit) != buffer.count(CRLF, seen - 1 if seen else 0, head_limit):
        raise RemoteProtocolError("a line of the head ends in a bare LF: lines end in CRLF")
    if seen <= line_limit < len(buffer) and buffer.find(CRLF, 0, line_limit + 2) < 0:
        raise RemoteProtocolError(f"the first line is longer than {line_limit} bytes", status=414)
    # RFC 6585 §5
    if len(buffer) >= head_limit:
        raise RemoteProtocolError(f"the head is longer than {head_limit} bytes", status=431)
    return 0


def read_fields(head: bytes, *, most: int) -> list[tuple[bytes, bytes]]:
    """The fields of a whole head, in order, values without the whitespace around them.

    Raises RemoteProtocolError: 400 for a line that is not exactly NAME:VALUE CRLF, 431 past `most` fields.
    """
    fields = _FIELD.findall(head)
    # One match a line, or something in the head is not as it should be: the first line and the empty one are not
    # fields. This one comparison finds a control character, a bare CR or LF, a folded line, a name that is no token.
    if len(fields) != head.count(b"\n") - 2:
        raise RemoteProtocolError(_fault_of(head))
    if len(fields) > most:
        raise RemoteProtocolError(f"the head has more than {most} fields", status=431)
    return fields


def _fault_of(head: bytes) -> str:
    # RFC 9110 §5.5: CR, LF and NUL are invalid and dangerous; other CTLs are invalid. Stricter: all are refused.
    # RFC 9112 §2.2: a bare CR must be treated as invalid or replaced; a bare LF we refuse (see head_length).
    ends = head.translate(None, FIELD_VALUE)
    if ends != CRLF * (len(ends) // 2):
        return "the head holds a control character, or a line that does not end in CRLF"
    # RFC 9112 §5.2: a server must reject obs-fold or replace it. A line that begins with space directly after the
    # first line (RFC 9112 §2.2) is the same to us.
    if b"\n " in head or b"\n\t" in head:
        return "a field of the head is folded over two lines"
    # RFC 9112 §5.1: no whitespace between name and colon
    return "a field of the head is not NAME: VALUE"


class HeadCheck:
    """The callbacks for httptools, of which we only use the verdict that a head is complete."""

    __slots__ = ("complete",)

    def __init__(self) -> None:
        self.complete = False

    def on_headers_complete(self) -> None:
        self.complete = True


def content_length(value: bytes) -> int:
    """RFC 9110 §8.6: 1*DIGIT. Stricter: no list of equal values, and 18 digits at most, which fits every integer."""
    if not value.isdigit() or len(value) > 18:
        raise RemoteProtocolError("Content-Length is not a number of bytes")
    return int(value)


def list_tokens(value: bytes) -> list[bytes]:
    """RFC 9110 §5.6.1: the lower-case members of a comma list; empty members are skipped."""
    if value and b"," not in value:
        return [value.lower()]
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]
