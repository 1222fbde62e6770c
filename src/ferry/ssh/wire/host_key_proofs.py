"""Announces the gateway's host keys to a client that has logged in, and proves that it holds them (PROTOCOL of OpenSSH, §2.5):
so `UpdateHostKeys` learns a new key before the old one goes.

asyncssh proves an RSA key with SHA-1, and OpenSSH then ignores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncssh
from asyncssh.packet import String

from ferry import limits

ANNOUNCE: Final = b"hostkeys-00@openssh.com"
PROVE: Final = b"hostkeys-prove-00@openssh.com"
_RSA: Final = b"ssh-rsa"
_RSA_SIGNATURES: Final = (b"rsa-sha2-512", b"rsa-sha2-256")


class HostKeyProofs:
    """The host keys of all connections."""

    def __init__(self, keys: Sequence[asyncssh.SSHKey] = ()) -> None:
        self._keys = {key.public_data: key for key in keys}
        self.announced = b"".join(map(String, self._keys))
        """All public keys; empty if none is announced."""

    def prove(self, wanted: Sequence[bytes], session_id: bytes, exchanged_with: bytes) -> bytes | None:
        """A signature for each public key; None if one of them is not ours, or is asked for twice. `exchanged_with` is the
        signature algorithm of the key exchange, by which OpenSSH wants to see the proof of an RSA key."""
        keys = [self._keys.get(public) for public in wanted]
        if not wanted or None in keys or len(set(wanted)) != len(wanted):
            return None
        rsa = exchanged_with if exchanged_with in _RSA_SIGNATURES else _RSA_SIGNATURES[0]
        begin = String(PROVE) + String(session_id)
        return b"".join(
            String(key.sign(begin + String(key.public_data), rsa if key.algorithm == _RSA else key.algorithm))
            for key in keys
            if key is not None
        )


class ProofsOfConnection:
    """Those of one connection: HOST_KEY_PROOFS requests, each for HOST_KEYS_PROVED keys."""

    __slots__ = ("_keys", "_left")

    def __init__(self, keys: HostKeyProofs) -> None:
        self._keys = keys
        self._left = limits.HOST_KEY_PROOFS

    @property
    def announced(self) -> bytes:
        """As in `HostKeyProofs`."""
        return self._keys.announced

    def prove(self, wanted: Sequence[bytes], session_id: bytes, exchanged_with: bytes) -> bytes | None:
        """As in `HostKeyProofs`; None also past the bounds."""
        self._left -= 1
        if self._left < 0 or len(wanted) > limits.HOST_KEYS_PROVED:
            return None
        return self._keys.prove(wanted, session_id, exchanged_with)
