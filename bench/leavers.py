"""Visitors who leave at every stage of a request, by an end of file or a reset: what stays of them?

Run as a program of its own: `python -m bench.leavers PORT HOST COUNT` ends when COUNT of them have left.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

from .machine import allow_many_files

AT_ONCE = 100
STAGE_SECONDS = 20.0  # for a stage to be reached
_RESET = struct.pack("ii", 1, 0)
_STAGES: tuple[tuple[str, bytes], ...] = (
    ("", b""),
    ("GET / HT", b""),
    ("GET /silent/ HTTP/1.1\r\nHost: {host}\r\n\r\n", b""),
    ("PUT /uploads/left HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n\r\n" + "x" * 20_000, b""),
    ("PUT /uploads/left HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n" + "x" * 9000, b""),
    ("GET /bulk HTTP/1.1\r\nHost: {host}\r\n\r\n", b"\r\n\r\n"),
    ("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n", b"hello"),
    ("GET /bulk HTTP/1.1\r\nHost: {host}\r\n\r\n" + "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n" * 20, b"\r\n\r\n"),
    ("GET / HTTP/1.1\r\nHost: nobody.{host}\r\n\r\n", b"\r\n\r\n"),
)
"""What a visitor sends, and what it waits for before it leaves."""


async def leave(port: int, host: str, number: int) -> None:
    """One visitor."""
    said, awaited = _STAGES[number % len(_STAGES)]
    reset = number // len(_STAGES) % 2
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    async with asyncio.timeout(STAGE_SECONDS):
        writer.write(said.format(host=host).encode())
        if awaited:
            await reader.readuntil(awaited)
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


async def _main(port: int, host: str, count: int) -> None:
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(leave(port, host, number) for number in range(first, min(first + AT_ONCE, count))))


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
