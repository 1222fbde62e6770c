"""Honest visitors who are slow for good reasons, and must not be taken for attackers: who of them was cut?

A phone that downloads at 2 KB/s, a long poll, a WebSocket on which nothing is said, and an upload with gaps of four
seconds; each from an address of its own. Run as a program: `python -m bench.patient PORT HOST SECONDS` prints `there`
once all have asked, and at the end one JSON object: for each `""`, or how it was cut.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

PHONE_BYTES = 2048  # a second
GAP_SECONDS = 4.0
PIECE_BYTES = 2000  # of the upload, after each gap: twice what `http.body_min_rate` asks for
LONG_POLL_SECONDS = 30
Ask = Callable[[bytes, bytes], bytes]
"""From method and path, and further fields, to a head."""


class _CutError(Exception):
    """How."""


async def _phone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, seconds: float) -> None:
    writer.write(ask(b"GET /bulk", b""))
    for _ in range(int(seconds)):
        await reader.readexactly(PHONE_BYTES)
        await asyncio.sleep(1.0)


async def _long_poll(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, seconds: float) -> None:
    wait = min(LONG_POLL_SECONDS, int(seconds))
    writer.write(ask(b"GET /silent/wait/%d" % wait, b""))
    await _status(reader, b"200")


async def _web_socket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, seconds: float) -> None:
    fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(ask(b"GET /silent/socket", fields + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
    await _status(reader, b"101")
    try:
        async with asyncio.timeout(seconds):
            if not await reader.read(1):
                raise _CutError("end of file")
    except TimeoutError:
        return
    raise _CutError("something was said")


async def _upload(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, seconds: float) -> None:
    pieces = int(seconds / GAP_SECONDS)
    writer.write(ask(b"PUT /uploads/patient", b"Content-Length: %d\r\n" % (PIECE_BYTES * pieces)))
    for _ in range(pieces):
        await asyncio.sleep(GAP_SECONDS)
        writer.write(b"x" * PIECE_BYTES)
        await writer.drain()
    await _status(reader, b"201", b"204")


async def _status(reader: asyncio.StreamReader, *wanted: bytes) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if head[9:12] not in wanted:
        raise _CutError(f"answered {head[9:12].decode('latin-1')}")


Patient = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Ask, float], Awaitable[None]]
_ALL: Final[Mapping[str, Patient]] = MappingProxyType(
    {"phone": _phone, "long poll": _long_poll, "WebSocket": _web_socket, "upload": _upload}
)


async def _visit(port: int, ask: Ask, visitor: Patient, number: int, seconds: float) -> str:
    """Empty, or how it was cut."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * PHONE_BYTES)
    sock.bind((f"127.0.9.{10 + number}", 0))
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=PHONE_BYTES)
        try:
            async with asyncio.timeout(seconds + 10):
                await visitor(reader, writer, ask, seconds)
        finally:
            writer.transport.abort()
    except (OSError, EOFError, _CutError) as error:
        return f"{type(error).__name__} {error}".strip()
    return ""


async def _main(port: int, host: str, seconds: float) -> None:
    def ask(line: bytes, fields: bytes) -> bytes:
        return b"%b HTTP/1.1\r\nHost: %b\r\nUser-Agent: ferry-bench-patient\r\n%b\r\n" % (line, host.encode(), fields)

    visits = asyncio.gather(
        *(_visit(port, ask, visitor, number, seconds) for number, visitor in enumerate(_ALL.values()))
    )
    await asyncio.sleep(0.5)
    print("there", flush=True)
    print(json.dumps(dict(zip(_ALL, await visits, strict=True))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
