"""Recognises a SOCKS proxy by the first bytes in both directions of one connection.

`ssh -R 30042 gw` (no target) makes the client a SOCKS proxy for anybody who reaches the port. On the wire the request
looks like any other forward, and only an answer to a visitor shows the proxy: the visitor sends a SOCKS greeting, and the
tunnel answers by RFC 1928 §3 (version 5) or the SOCKS4 memo. Both are required, because many binary protocols begin with
a 4 or a 5: a DCE/RPC bind starts with `05 00`, which as a greeting would offer no method.
"""

from __future__ import annotations

import enum
from typing import Final

_V4: Final = 4
_V5: Final = 5
_V5_METHODS: Final = frozenset({0x00, 0x02, 0xFF})  # RFC 1928 §3: none, user/password, no acceptable
_V4_COMMANDS: Final = frozenset({1, 2})  # CONNECT, BIND
_V4_REPLY_BYTES: Final = 8
_V4_REPLIES: Final = range(0x5A, 0x5E)
_V4_FIXED_BYTES: Final = 8  # version, command, port, address; a user id and a zero byte follow
_GREETING_MAX: Final = 2 + 255  # RFC 1928 §3; a SOCKS4 user id is cut at the same length


class Verdict(enum.Enum):
    """The verdict on the connection so far."""

    MORE = "more"
    """Too few bytes to tell. Bytes from the tunnel are buffered."""
    CLEAN = "clean"
    """Not SOCKS. This verdict is final."""
    PROXY = "proxy"
    """A SOCKS proxy has answered."""


class SocksRecogniser:
    """One connection's state. Feed both directions in the order in which they arrive, until the verdict is final."""

    def __init__(self) -> None:
        self.verdict = Verdict.MORE
        """The verdict so far."""
        self.buffered = b""
        """The tunnel's bytes before the final verdict: fewer than a reply. Only `tunnel` adds to them."""
        self._greeting = b""

    def visitor(self, data: bytes) -> Verdict:
        """Feed `data` from the visitor. It keeps the greeting alone; the first two bytes tell whether it is one."""
        self._greeting += data[: _GREETING_MAX - len(self._greeting)]
        if not _may_be_greeting(self._greeting):
            self.verdict = Verdict.CLEAN
        return self.verdict

    def tunnel(self, data: bytes) -> Verdict:
        """Feed `data` from the tunnel."""
        if self.verdict is Verdict.MORE:
            reply = self.buffered + data[: _V4_REPLY_BYTES - len(self.buffered)]
            self.verdict = _judge(self._greeting, reply)
            if self.verdict is Verdict.MORE:
                self.buffered = reply
        return self.verdict


def _may_be_greeting(head: bytes) -> bool:
    """Whether `head` is a SOCKS greeting, or could become one."""
    if head[0] == _V5:
        return len(head) == 1 or head[1] > 0
    return head[0] == _V4 and (len(head) == 1 or head[1] in _V4_COMMANDS)


def _is_whole(greeting: bytes) -> bool:
    """Whether the greeting is complete, so that a proxy could answer. It is empty if the tunnel spoke first, which no
    proxy does."""
    if len(greeting) < 2:
        return False
    if greeting[0] == _V5:
        return len(greeting) >= 2 + greeting[1]
    return 0 in greeting[_V4_FIXED_BYTES:] or len(greeting) == _GREETING_MAX


def _judge(greeting: bytes, reply: bytes) -> Verdict:
    if not _is_whole(greeting):
        return Verdict.CLEAN
    if greeting[0] == _V5:
        if reply[0] != _V5:
            return Verdict.CLEAN
        if len(reply) == 1:
            return Verdict.MORE
        return Verdict.PROXY if reply[1] in _V5_METHODS else Verdict.CLEAN
    if reply[0] != 0 or (len(reply) > 1 and reply[1] not in _V4_REPLIES):
        return Verdict.CLEAN
    return Verdict.PROXY if len(reply) == _V4_REPLY_BYTES else Verdict.MORE
