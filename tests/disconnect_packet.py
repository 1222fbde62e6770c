"""The disconnect that a client of the wrong port, or one too many, gets in the clear."""

from __future__ import annotations

import struct

VERSION = b"SSH-2.0-Ferry\r\n"


def disconnect_in(said: bytes) -> tuple[int, str]:
    """The code and the text of the disconnect behind the version line (RFC 4253 §6, §11.1)."""
    assert said.startswith(VERSION)
    packet = said.removeprefix(VERSION)
    length, padding = struct.unpack(">IB", packet[:5])
    assert len(packet) == 4 + length
    assert len(packet) % 8 == 0
    assert 4 <= padding <= 255
    payload = packet[5 : 4 + length - padding]
    kind, code, size = struct.unpack(">BII", payload[:9])
    assert kind == 1
    assert payload[9 + size :] == bytes(4)  # no language
    return code, payload[9 : 9 + size].decode()
