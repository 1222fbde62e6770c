"""Detects requests in a circle: a tunnel whose service leads back to this gateway.

Each pass adds a member to `CDN-Loop` (RFC 8586): a name for this installation and the tunnel. It is derived from a
secret, and reveals nothing to those who do not know it. A request that already carries its tunnel's member is in a
circle. A request that passes through several tunnels goes on, up to LOOP_PASSES.

`Via` is the standard field for this (RFC 9110 §7.6.3: a gateway MUST send it in each request that it forwards). We do
not send it, on purpose: nginx does not compress answers to requests with a `Via` (`gzip_proxied` is off by default), so
all services behind Ferry would answer uncompressed. A visitor's own `Via` passes on.

A service may strip the field. Then its requests fill the places of its own tunnel only.
"""

from __future__ import annotations

import hashlib
import hmac

from ferry import limits

_DIGITS = 12  # hexadecimal, of each of the two names: 48 bits


class Loops:
    """Derives the names from the installation's own `secret`. They stay the same while the secret does."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._ours = f"ferry-{self._name('installation')}-".encode()

    def _name(self, of: str) -> str:
        return hmac.new(self._secret, f"loop {of}".encode(), hashlib.sha256).hexdigest()[:_DIGITS]

    def mark(self, host: str) -> bytes:
        """The member for the tunnel at `host`, the same for all its holders: one token (RFC 8586 §2: a pseudonym)."""
        return self._ours + self._name(f"tunnel {host}").encode()

    def closed(self, carried: bytes, mark: bytes) -> bool:
        """Whether a request with `carried` in CDN-Loop must not go to the tunnel of `mark`.

        A visitor that forges the field harms only itself: its request is refused.
        """
        return mark in carried or carried.count(self._ours) >= limits.LOOP_PASSES
