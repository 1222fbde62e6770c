"""A local TCP service to publish: greets, gives every line back in capitals, and shows what half-close does."""

from __future__ import annotations

import socket
import socketserver

from threaded_server import ThreadedServer

SECONDS = 20


class LineService(ThreadedServer):
    """On a port of 127.0.0.1. At end-of-file it answers `bye` and closes: so half-close works, or the test hangs."""

    def __init__(self) -> None:
        super().__init__(_Server(("127.0.0.1", 0), _Handler))


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
