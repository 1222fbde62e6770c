"""Both packet paths exchange keys again after a number of bytes and after a time (RFC 4253 §9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from ferry.ssh.wire.connection import HardenedConnection
from ssh.wire.lean_script import PATTERN, one_channel

LEAN, ASYNCSSHS = "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"


class Counting(HardenedConnection):
    """The product's own, which counts its new keys."""

    keys: ClassVar[int] = 0

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        Counting.keys += 1
        super().send_newkeys(k, h)


@pytest.mark.parametrize("cipher", [LEAN, ASYNCSSHS])
@pytest.mark.parametrize(("due", "exchanges"), [({"_rekey_bytes": 40_000}, 2), ({"_rekey_time": 0.0}, 1), ({}, 0)])
async def test_new_keys_are_asked_for_when_they_are_due(
    key: Path, cipher: str, due: dict[str, float], exchanges: int
) -> None:
    async with one_channel(key, cipher, kind=Counting) as play:
        Counting.keys = 0
        connection: Any = play.connection
        for name, value in due.items():
            setattr(connection, name, value)
        for _ in range(4):
            await play.on_channel("write", 0, 32_768)
            await play.settle()
        assert Counting.keys >= exchanges if "_rekey_bytes" in due else Counting.keys == exchanges
        assert len(play.peers[0].got) == 4 * 32_768
        assert bytes(play.peers[0].got[:251]) == PATTERN[:251]
