"""Tells the protocol of a new connection from its first bytes.

The three protocols on the shared port begin differently: an SSH client sends its version first (RFC 4253 §4.2), a TLS
client a handshake record (RFC 8446 §5.1), an HTTP client a method and a space (RFC 9112 §3).
"""

from __future__ import annotations

import enum
import re
from typing import Final

LOOK_BYTES: Final = 32
"""How many bytes are enough to decide."""

_SSH: Final = b"SSH-"
# RFC 9110 §9.1 allows any token as a method. Stricter here: every registered method is upper-case letters and
# hyphens, 17 octets at most (UPDATEREDIRECTREF).
_METHOD: Final = re.compile(rb"[A-Z][A-Z-]{0,19}")
_TLS_HANDSHAKE: Final = 0x16
_TLS_MAJOR: Final = 0x03  # legacy_record_version is 0x03xx in every version of TLS


class FirstBytes(enum.Enum):
    """The protocol that the first bytes indicate."""

    SSH = "ssh"
    TLS = "tls"
    HTTP = "http"
    MORE = "more"
    """Too few bytes to tell."""
    UNKNOWN = "unknown"
    """None of the three."""


def classify(head: bytes) -> FirstBytes:
    """The protocol of a connection that begins with `head`. Never MORE for `LOOK_BYTES` or more."""
    if not head:
        return FirstBytes.MORE
    if head[0] == _TLS_HANDSHAKE:
        if len(head) == 1:
            return FirstBytes.MORE
        return FirstBytes.TLS if head[1] == _TLS_MAJOR else FirstBytes.UNKNOWN
    if head.startswith(_SSH):
        return FirstBytes.SSH
    match = _METHOD.match(head)
    if match is None:
        return FirstBytes.UNKNOWN
    if match.end() == len(head) < LOOK_BYTES:
        return FirstBytes.MORE  # a method cut short, or the start of `SSH-`
    return FirstBytes.HTTP if head[match.end() : match.end() + 1] == b" " else FirstBytes.UNKNOWN
