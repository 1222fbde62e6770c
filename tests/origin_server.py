"""A small local service: it names itself, takes files, and can wait for the test."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from threaded_server import ThreadedServer

FILE = bytes(range(256)) * (5 * 4096)  # 5 MiB
FILE_SHA256 = hashlib.sha256(FILE).hexdigest()


class Origin(ThreadedServer):
    """An HTTP/1.1 server on a port of 127.0.0.1 that the kernel chose.

    `GET /` answers with its name, `/file` with FILE, `PUT` with the SHA-256 of what it got, `/headers` with the request
    head's fields, `/slow` with half an answer and the rest once `go` is set.
    """

    def __init__(self, name: str = "origin") -> None:
        self.name = name
        self.go = threading.Event()
        self.reached = threading.Event()
        """Set when `/slow` is being answered."""
        self.requests: list[str] = []
        super().__init__(_Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"origin": self})))

    def close(self) -> None:
        self.go.set()
        super().close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    origin: ClassVar[Origin]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.origin.requests.append(self.path)
        if self.path == "/slow":
            self._slow()
        elif self.path == "/headers":
            self._answer("".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode())
        else:
            self._answer(FILE if self.path == "/file" else self.origin.name.encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        while left and (data := self.rfile.read(min(left, 65536))):
            digest.update(data)
            left -= len(data)
        self._answer(digest.hexdigest().encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"half")
        self.wfile.flush()
        self.origin.reached.set()
        self.origin.go.wait(30)
        self.wfile.write(b"done")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True
