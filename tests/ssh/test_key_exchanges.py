"""A client exchanges keys again and again: each exchange costs the gateway what a log-in costs, so they are spaced."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferry import limits
from gateway_process import Gateway
from raw_client import raw_client
from ssh.test_stuck_ends import on_stage

KEY_EXCHANGES_TOGETHER = 16
KEY_EXCHANGES_PER_SECOND = 4.0
MORE = 3  # exchanges than may follow each other at once
FLOOD = 32 * 1024 * 1024  # past what the kernel takes for somebody who does not read
TURNS = 2000  # of the loop: in each the gateway would read 256 KiB


async def test_who_exchanges_keys_on_and_on_waits_for_each_and_goes_on(gateway: Gateway, key: Path) -> None:
    loop = asyncio.get_running_loop()
    async with raw_client(gateway, key, rekey_bytes=1) as client:
        began = loop.time()
        for _ in range(KEY_EXCHANGES_TOGETHER + MORE):
            assert await client.lives()  # an exchange precedes each packet
        assert loop.time() - began > MORE / KEY_EXCHANGES_PER_SECOND


@pytest.mark.parametrize("did_not_read", [False, True])
async def test_who_waits_for_an_exchange_cannot_send_ahead(
    key: Path, monkeypatch: pytest.MonkeyPatch, *, did_not_read: bool
) -> None:
    monkeypatch.setattr(limits, "KEY_EXCHANGES_TOGETHER", 1)
    monkeypatch.setattr(limits, "KEY_EXCHANGES_PER_SECOND", 0.001)
    monkeypatch.setattr(limits, "UNREAD_BYTES", 0)
    async with on_stage(key) as stage:
        if did_not_read:
            stage.transport.pause_reading()
            await stage.fill()
        stage.client.connection._send_kexinit()
        stage.transport.write(bytes(FLOOD))
        stage.transport.resume_reading()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert stage.transport.get_write_buffer_size() > FLOOD / 2
