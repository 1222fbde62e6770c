"""A service that never answers: behind the origin's `/silent/`, for visitors who wait and for those who hold on.

`/silent/wait/30` is answered after 30 seconds, as a long poll is; a request to upgrade is granted, and nothing follows.
Run as a program of its own: `python -m bench.silent PATH` listens on that Unix socket until it is ended.
"""

from __future__ import annotations

import asyncio
import re
import sys

from .machine import allow_many_files

_WAIT = re.compile(rb"GET /silent/wait/(\d{1,3}) ")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate"
_SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Silent(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        head, self._head = self._head, b""
        if match := _WAIT.match(head):
            asyncio.get_running_loop().call_later(int(match[1]), self._transport.write, _ANSWER)
        elif b"\r\nupgrade: websocket" in head.lower():
            self._transport.write(_SWITCHED)


async def _main(path: str) -> None:
    server = await asyncio.get_running_loop().create_unix_server(Silent, path, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    allow_many_files()
    asyncio.run(_main(sys.argv[1]))
