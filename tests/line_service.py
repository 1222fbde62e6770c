"""A local TCP service to publish: greets, gives every line back in capitals, and shows what half-close does."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import Self

SECONDS = 20


class LineService:
    """On a port of 127.0.0.1. At end-of-file it answers `bye` and closes: so half-close works, or the test hangs."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(SECONDS)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024  # with the usual 5 a crowd waits for its connections to be tried again


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.wfile.write(line.upper())
            self.wfile.write(b"bye\n")
        except ConnectionError:
            pass  # the visitor has left


def ask(port: int, text: bytes, host: str = "127.0.0.1") -> bytes:
    """Send `text`, end of file, and read to the end."""
    with socket.create_connection((host, port), timeout=SECONDS) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer
