"""AES-GCM for SSH packets (RFC 5647 §7) with one cipher object per direction.

asyncssh makes a new cipher object for each packet and copies each packet three times. The key schedule and the copies
were a quarter of the cost of a small packet.
"""

from __future__ import annotations

from typing import Final

from asyncssh.crypto.cipher import GCMCipher
from asyncssh.encryption import Encryption, GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TAG_BYTES: Final = 16
_COUNTER_BYTES: Final = 8
_COUNTER_MASK: Final = (1 << 64) - 1


class PacketGcm(GCMEncryption):
    """One direction of one key. It replaces asyncssh's object and keeps its methods."""

    def __init__(self, cipher: GCMCipher) -> None:
        super().__init__(cipher)
        key, iv = cipher._key, cipher._iv  # asyncssh derives them, and has no public names for them
        self._aes = AESGCM(key)
        self._fixed = iv[:-_COUNTER_BYTES]
        self._counter = int.from_bytes(iv[-_COUNTER_BYTES:], "big")

    # RFC 5647 §7.1: the nonce counts the packets. Both methods make it, because a call for each packet costs more.

    def seal(self, header: bytes, packet: bytes) -> bytes:
        """Encrypt `packet` and append its tag. `header` (the length field) is authenticated only."""
        counter = self._counter
        self._counter = (counter + 1) & _COUNTER_MASK
        return self._aes.encrypt(self._fixed + counter.to_bytes(_COUNTER_BYTES, "big"), packet, header)

    def open(self, header: bytes, sealed: bytes | memoryview) -> bytes | None:
        """Decrypt `sealed` (with its tag). None if it was tampered with."""
        counter = self._counter
        self._counter = (counter + 1) & _COUNTER_MASK
        try:
            return self._aes.decrypt(self._fixed + counter.to_bytes(_COUNTER_BYTES, "big"), sealed, header)
        except InvalidTag:
            return None

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        del seq
        sealed = self.seal(header, packet)
        return header + sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]

    def decrypt_packet(self, seq: int, first: bytes, following: bytes, header_len: int, mac: bytes) -> bytes | None:
        del seq
        return self.open(first[:header_len], first[header_len:] + following + mac)


def with_one_cipher(encryption: Encryption | None) -> Encryption | None:
    """`encryption`, or the faster object if it is AES-GCM and still unused."""
    if type(encryption) is GCMEncryption:
        return PacketGcm(encryption._cipher)
    return encryption
