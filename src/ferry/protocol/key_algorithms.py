"""Lists of signature algorithms for keys that log in (sshd_config(5), PubkeyAcceptedAlgorithms)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ferry.errors import InvalidInput
from ferry.names import printable

from .authorized_keys import CERTIFICATE, KEY_FIELDS
from .sshd_config import in_patterns

_OF_RSA: Final = ("rsa-sha2-256", "rsa-sha2-512")  # RFC 8332 §3; other types of keys have one, of the same name


def signatures_of(key: str) -> tuple[str, ...]:
    """The algorithms with which a key of this type can sign."""
    return _OF_RSA if key == "ssh-rsa" else (key,)


SIGNATURES: Final = tuple(name for key in KEY_FIELDS for name in signatures_of(key))
"""Those that Ferry takes."""


def of_certificate(signature: str) -> str:
    """What a log-in with a certificate calls the algorithm (PROTOCOL.certkeys of OpenSSH): `ssh-ed25519` becomes
    `ssh-ed25519-cert-v01@openssh.com`."""
    return f"{signature.removesuffix('@openssh.com')}{CERTIFICATE}"


ALL: Final = (*SIGNATURES, *map(of_certificate, SIGNATURES))
_PLAIN_LACKING: Final = (
    "ssh-rsa",
    "ssh-dss",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-mldsa44-ed25519@openssh.com",
)
_LACKING: Final = (*_PLAIN_LACKING, *map(of_certificate, _PLAIN_LACKING))
"""Those of sshd that Ferry has not: a list may name them, and they let nobody in."""


def parse_algorithms(words: Sequence[str]) -> frozenset[str]:
    """The algorithms that a list leaves, as sshd reads it: a list of patterns, or one that `+`, `-` or `^` before its first
    word add to all, take from them, or put at their head. It may leave none. Raises InvalidInput."""
    first = words[0] if words else ""
    change = first[:1] if first[:1] in ("+", "-", "^") else ""
    patterns = [first.removeprefix(change), *words[1:]]
    for pattern in patterns:
        _check(pattern)
    meant = frozenset(name for name in ALL if any(in_patterns(name, pattern) for pattern in patterns))
    if change == "-":
        return frozenset(ALL) - meant
    return meant if not change else frozenset(ALL)  # all are there already, and their order decides nothing


def _check(pattern: str) -> None:
    if pattern.startswith("!"):
        raise InvalidInput(f'sshd takes no ! here: write "-{printable(pattern[1:], 60)}" to leave it out')
    if pattern[:1] in ("+", "-", "^"):
        raise InvalidInput(f"{pattern[0]} stands before the first word alone, for all of them")
    if not any(in_patterns(name, pattern) for name in (*ALL, *_LACKING)):
        raise InvalidInput(
            f"{printable(pattern, 60)!r} is no algorithm of sshd: write some of {', '.join(SIGNATURES)}, or patterns such as "
            f"*{CERTIFICATE}"
        )
