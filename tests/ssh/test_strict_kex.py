"""Terrapin (CVE-2023-48795): whoever can change packets on the way must not be able to drop any unnoticed. Strict key
exchange (OpenSSH PROTOCOL §1.10) is offered, and a message that has no place in the first key exchange ends it."""

from __future__ import annotations

import os
import socket
import struct
from typing import BinaryIO, Final

import pytest

from gateway_process import Gateway

MSG_DISCONNECT: Final = 1
MSG_IGNORE: Final = 2
MSG_KEXINIT: Final = 20
MSG_KEX_ECDH_INIT: Final = 30
MSG_KEX_ECDH_REPLY: Final = 31


def packet(payload: bytes) -> bytes:
    """In clear (RFC 4253 §6)."""
    padding = 8 - (5 + len(payload)) % 8
    padding += 8 * (padding < 4)
    return struct.pack(">IB", 1 + len(payload) + padding, padding) + payload + bytes(padding)


def name_list(*names: str) -> bytes:
    text = ",".join(names).encode()
    return struct.pack(">I", len(text)) + text


def kexinit(*kex: str) -> bytes:
    """RFC 4253 §7.1."""
    cipher = name_list("chacha20-poly1305@openssh.com")
    lists = [name_list(*kex), name_list("ssh-ed25519"), cipher, cipher, *2 * [name_list("hmac-sha2-256")]]
    lists += [*2 * [name_list("none")], *2 * [name_list()]]
    return packet(bytes([MSG_KEXINIT]) + os.urandom(16) + b"".join(lists) + bytes(5))


def ecdh_init() -> bytes:
    """RFC 5656 §4, with the base point, which is a valid key."""
    return packet(bytes([MSG_KEX_ECDH_INIT]) + struct.pack(">I", 32) + b"\x09" + bytes(31))


def next_payload(stream: BinaryIO) -> bytes:
    head = stream.read(5)
    if len(head) < 5:
        return b""
    length, padding = struct.unpack(">IB", head)
    return stream.read(length - 1)[: length - 1 - padding]


@pytest.mark.parametrize(("strict", "goes_on"), [(True, False), (False, True)])
def test_a_packet_slipped_into_a_strict_key_exchange_ends_it(gateway: Gateway, *, strict: bool, goes_on: bool) -> None:
    marker = ["kex-strict-c-v00@openssh.com"] * strict
    with socket.create_connection(("127.0.0.1", gateway.ports.ssh), timeout=20) as client, client.makefile("rb") as out:
        client.sendall(b"SSH-2.0-test\r\n" + kexinit("curve25519-sha256", *marker))
        assert out.readline().startswith(b"SSH-2.0-")
        offer = next_payload(out)
        assert offer[0] == MSG_KEXINIT
        assert b"kex-strict-s-v00@openssh.com" in offer
        client.sendall(packet(bytes([MSG_IGNORE]) + struct.pack(">I", 0)) + ecdh_init())
        answer = next_payload(out)
        assert (answer[:1] == bytes([MSG_KEX_ECDH_REPLY])) is goes_on
        assert goes_on or answer[:1] in (b"", bytes([MSG_DISCONNECT]))
