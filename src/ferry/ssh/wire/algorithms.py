"""The algorithms that Ferry offers (RFC 4253 §7.1), and the choice of ciphers for one client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from asyncssh import KeyImportError, SSHKey
from asyncssh.packet import PacketDecodeError, SSHPacket
from asyncssh.public_key import decode_ssh_public_key

from ferry.protocol.certificates import is_certificate
from ferry.protocol.key_algorithms import of_certificate

from . import hostbound

KEX_ALGORITHMS: Final = (
    # curve25519 first: Dropbear guesses it, and asyncssh ends the connection if the guess is not its own first choice
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "mlkem768x25519-sha256",
)
CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
MACS: Final = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
_OF_PLAIN_KEYS: Final = (
    b"ssh-ed25519",
    b"rsa-sha2-256",
    b"rsa-sha2-512",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
)
HOST_KEY_ALGORITHMS: Final = frozenset((*_OF_PLAIN_KEYS, *(name + b"-cert-v01@openssh.com" for name in _OF_PLAIN_KEYS)))
"""The signature algorithms of our host keys and their certificates. For an RSA key asyncssh also offers SHA-1 (`ssh-rsa`), which RFC 8332 §5.1
advises against."""


def ciphers_for(kexinit: bytes, ours: Sequence[bytes]) -> Sequence[bytes]:
    """The ciphers to offer to a client with this KEXINIT (RFC 4253 §7.1): AES-GCM alone if the client lists it."""
    packet = SSHPacket(kexinit)
    packet.get_bytes(17)  # type and cookie
    packet.get_namelist(), packet.get_namelist()  # key exchange and host key algorithms
    to_us, from_us = packet.get_namelist(), packet.get_namelist()
    for cipher in (b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com"):
        if cipher in to_us and cipher in from_us and cipher in ours:
            return [cipher]
    return ours


def readable_key(key_data: bytes) -> SSHKey | None:
    """The public key that a client has sent; None if it is none, by its form or by its numbers."""
    try:
        return decode_ssh_public_key(key_data)
    except (KeyImportError, ValueError, OverflowError):  # the others are those of `cryptography`
        return None


def signed_with(signature: bytes) -> bytes:
    """The algorithm that a signature names (RFC 4253 §6.6); empty if it is none."""
    try:
        return SSHPacket(signature).get_string()
    except PacketDecodeError:
        return b""


def algorithm_asked(request: bytes) -> str:
    """The algorithm that a request for a log-in with a key names (RFC 4252 §7); empty for another request."""
    packet = SSHPacket(request)
    try:
        packet.get_byte()
        packet.get_string(), packet.get_string()  # the login name and the service
        if packet.get_string() not in (b"publickey", hostbound.METHOD):
            return ""
        packet.get_boolean()
        return packet.get_string().decode("ascii", "replace")
    except PacketDecodeError:
        return ""


def algorithm_used(key_data: bytes, signature: bytes) -> str:
    """What a client would name the algorithm of its signature: with a certificate by another name."""
    name = signed_with(signature).decode("ascii", "replace")
    return of_certificate(name) if is_certificate(key_data) else name


def security_key_flags(signature: bytes) -> int | None:
    """The flags that a security key (`sk-...`) has signed (PROTOCOL.u2f of OpenSSH); None if another key has signed."""
    packet = SSHPacket(signature)
    try:
        if not packet.get_string().startswith(b"sk-"):
            return None
        packet.get_string()
        return packet.get_byte()
    except PacketDecodeError:
        return 0
