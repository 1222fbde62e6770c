"""The ways to find a message's end (RFC 9112 §6)."""

from __future__ import annotations

import enum
from typing import Final

CHUNKED: Final = -1
"""A body length that stands for `Transfer-Encoding: chunked`; every other length is a count of bytes."""


class Framing(enum.Enum):
    """The ways a response's body ends (RFC 9112 §6.3)."""

    NONE = "none"
    """There is no body, whatever the fields say: HEAD, 1xx, 204, 304."""
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """The body ends with the connection; a truncated body cannot be told from a whole one."""
