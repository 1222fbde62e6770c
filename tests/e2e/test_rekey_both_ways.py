"""Every byte arrives, and every end after it, while both sides change keys again and again under many streams."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from edge.http_rig import service
from edge.test_leavers import with_ssh
from ferry.limiters.rate import Spacing
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.requests import ConnectionHandler
from inside_gateway import inside_gateway

MIB = 1024 * 1024
STREAMS = 6
EACH = 2 * MIB
REKEY = MIB


class Rekeying(HardenedConnection):
    """The product's own, with a key exchange after each mebibyte that it sends; it counts those after the log-in."""

    exchanges = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rekey_bytes = REKEY
        self.counts = False

    def serve(self, handler: ConnectionHandler, keys: Spacing) -> None:
        self.counts = True
        super().serve(handler, keys)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        Rekeying.exchanges += self.counts
        super().send_newkeys(k, h)


async def hash_then_send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends EACH bytes while it reads; when it has read to the end of file, tells the hash of all that came."""
    sent = os.urandom(EACH)

    async def send() -> None:
        writer.write(sent)
        await writer.drain()

    sending = asyncio.create_task(send())
    got = hashlib.sha256()
    while data := await reader.read(65536):
        got.update(data)
    await sending
    writer.write(hashlib.sha256(sent).digest() + got.digest())
    writer.write_eof()


async def visitor(port: int) -> None:
    data = os.urandom(EACH)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    back = await reader.read(-1)  # to the end of file, which comes after everything
    await sending
    writer.close()
    await writer.wait_closed()
    assert len(back) == EACH + 64
    assert back[EACH : EACH + 32] == hashlib.sha256(back[:EACH]).digest()
    assert back[EACH + 32 :] == hashlib.sha256(data).digest()


@pytest.mark.parametrize("client", ["4G", "1M"])
async def test_every_byte_of_many_streams_arrives_while_both_sides_rekey(
    tmp_path: Path, key: Path, client: str
) -> None:
    """A client that never begins a key exchange itself shows that ours happen."""
    Rekeying.exchanges = 0
    async with service(hash_then_send) as target, inside_gateway(kind=Rekeying) as gateway:
        port = gateway.ports.loopback[0]
        rekey = ("-o", f"RekeyLimit={client}")
        async with with_ssh(gateway, tmp_path, key, f"{port}:127.0.0.1:{target}", options=rekey):
            before = gateway.kept()
            async with asyncio.timeout(60):
                await asyncio.gather(*(visitor(port) for _ in range(STREAMS)))
            assert Rekeying.exchanges > STREAMS * EACH // REKEY // 2
            await gateway.back_to(before)
