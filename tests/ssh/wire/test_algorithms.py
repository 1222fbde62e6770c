"""The offered ciphers (AES-GCM only, if both directions have it), and the names of signatures."""

from __future__ import annotations

import pytest
from asyncssh.constants import MSG_KEXINIT
from asyncssh.packet import NameList, String

from ferry.ssh.wire.algorithms import CIPHERS, ciphers_for, signed_with

OURS = [cipher.encode() for cipher in CIPHERS]
GCM_128, GCM_256, CHACHA = b"aes128-gcm@openssh.com", b"aes256-gcm@openssh.com", b"chacha20-poly1305@openssh.com"


def kexinit(to_us: list[bytes], from_us: list[bytes]) -> bytes:
    lists = [[b"curve25519-sha256"], [b"ssh-ed25519"], to_us, from_us]
    return bytes([MSG_KEXINIT]) + bytes(16) + b"".join(map(NameList, lists))


@pytest.mark.parametrize(
    ("to_us", "from_us", "ours", "offered"),
    [
        ([CHACHA, GCM_128, GCM_256], [CHACHA, GCM_128, GCM_256], OURS, [GCM_128]),
        ([CHACHA, GCM_256], [GCM_256, CHACHA], OURS, [GCM_256]),
        ([CHACHA, GCM_128], [CHACHA], OURS, OURS),
        ([CHACHA], [CHACHA, GCM_128], OURS, OURS),
        ([GCM_128, GCM_256], [GCM_256], OURS, [GCM_256]),
        ([GCM_128, CHACHA], [GCM_128, CHACHA], [CHACHA], [CHACHA]),
        ([b"aes128-cbc"], [b"aes128-cbc"], OURS, OURS),
    ],
)
def test_gcm_alone_is_offered_to_a_client_with_gcm_in_both_directions(
    to_us: list[bytes], from_us: list[bytes], ours: list[bytes], offered: list[bytes]
) -> None:
    """Otherwise a client that has it in one direction only would find nothing in common, and could not log in."""
    assert ciphers_for(kexinit(to_us, from_us), ours) == offered


@pytest.mark.parametrize(
    ("signature", "algorithm"),
    [(String(b"ssh-rsa") + String(b"x"), b"ssh-rsa"), (b"", b""), (b"\x00\x00\xff\xffssh", b"")],
)
def test_a_signature_names_its_algorithm_or_none(signature: bytes, algorithm: bytes) -> None:
    assert signed_with(signature) == algorithm
