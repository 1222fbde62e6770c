"""Requests that come round again: a tunnel whose service is, on the way, this gateway itself.

Each pass adds a member to `CDN-Loop` (RFC 8586): a name for this installation and the tunnel, which says nothing to
who does not know the secret they are made of. A request that carries its tunnel's own is in a circle. One that merely
goes from tunnel to tunnel goes on, a few times.

`Via` would be the field for it (RFC 9110 §7.6.3: a gateway MUST send it in each request that it forwards). It is not
sent, on purpose: nginx compresses nothing for a request that carries one (`gzip_proxied` is off unless somebody has
turned it on), so every service behind Ferry would answer in plain. A `Via` that a visitor brings passes on.

A service may strip the field. It then fills the places of its own tunnel, and nobody else's.
"""

from __future__ import annotations

import hashlib
import hmac

from ferry import limits

_DIGITS = 12  # hexadecimal, of each of the two names: 48 bits


class Loops:
    """`secret` is the installation's own, and the names are made of it: they stay the same for as long as it does."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._ours = f"ferry-{self._name('installation')}-".encode()

    def _name(self, of: str) -> str:
        return hmac.new(self._secret, f"loop {of}".encode(), hashlib.sha256).hexdigest()[:_DIGITS]

    def mark(self, host: str) -> bytes:
        """The member for the tunnel at `host`: one token (RFC 8586 §2: a pseudonym), whoever holds the tunnel."""
        return self._ours + self._name(f"tunnel {host}").encode()

    def closed(self, carried: bytes, mark: bytes) -> bool:
        """Whether a request that carries `carried` in CDN-Loop must not go to the tunnel of `mark`.

        A visitor who makes such a field up is refused, and nobody else.
        """
        return mark in carried or carried.count(self._ours) >= limits.LOOP_PASSES
