"""Names and ports that the gateway chooses: always the same for one identity, and unpredictable for others."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from ferry.names import IdentityId

from .wordlist import ADJECTIVES, NOUNS

DERIVED_TRIES = 64  # names or ports tried for one forward before it is refused


def _number(secret: bytes, *parts: str) -> int:
    digest = hmac.new(secret, "\0".join(parts).encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big")


def derived_labels(secret: bytes, identity: IdentityId) -> Iterator[str]:
    """Two-word labels for `identity`, in the order to try them."""
    for slot in range(DERIVED_TRIES):
        number = _number(secret, "label", identity, str(slot))
        first, second = number % len(ADJECTIVES), (number // len(ADJECTIVES)) % len(NOUNS)
        yield f"{ADJECTIVES[first]}-{NOUNS[second]}"


def derived_ports(secret: bytes, identity: IdentityId, first: int, last: int) -> Iterator[int]:
    """Ports from `first` to `last` for `identity`, in the order to try them."""
    for slot in range(DERIVED_TRIES):
        yield first + _number(secret, "port", identity, str(slot)) % (last - first + 1)
