"""A blocking server of the standard library, on a thread of its own while the context lasts."""

from __future__ import annotations

import socketserver
import threading
from typing import Self

CLOSE_SECONDS = 20


class ThreadedServer:
    """Runs `server` on a port of 127.0.0.1 that the kernel chose."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
