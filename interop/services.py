"""What is published in the steps: a web service that sends and takes much, and can count who is there at once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from threaded_server import ThreadedServer

BLOCK = 1 << 20
SECONDS = 60.0
TOGETHER = b"together"


def content(size: int, seed: bytes) -> Iterator[bytes]:
    """`size` bytes in blocks, no two alike: what is lost, doubled or out of order changes the sum."""
    body = hashlib.shake_256(seed).digest(BLOCK - 8)
    for number in range(-(-size // BLOCK)):
        yield (number.to_bytes(8, "big") + body)[: size - number * BLOCK]


def digest_of(size: int, seed: bytes) -> str:
    """The SHA-256 of `content`."""
    digest = hashlib.sha256()
    for block in content(size, seed):
        digest.update(block)
    return digest.hexdigest()


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


class Web(ThreadedServer):
    """`GET /` says `web`; `GET /bulk/SIZE` sends that many bytes; `PUT` answers with the SHA-256 of what came;
    `GET /together/N` is answered once N such requests are here."""

    def __init__(self) -> None:
        self.seed = os.urandom(8)
        self.here = 0
        self.changed = threading.Condition()
        super().__init__(_Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"web": self})))


class _Handler(BaseHTTPRequestHandler):
    web: ClassVar[Web]
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self) -> None:
        _, what, number = (self.path + "/").split("/")[:3]
        if what == "bulk":
            self._head(200, int(number))
            for block in content(int(number), self.web.seed):
                self.wfile.write(block)
        elif what == "together":
            self._together(int(number))
        else:
            self._answer(b"web")

    def _together(self, number: int) -> None:
        web = self.web
        with web.changed:
            web.here += 1
            web.changed.notify_all()
            came = web.changed.wait_for(lambda: web.here >= number, SECONDS)
        self._answer(TOGETHER if came else f"only {web.here} came".encode())

    def do_PUT(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left and (data := self.rfile.read(min(left, 65536))):
            digest.update(data)
            left -= len(data)
        self._answer(digest.hexdigest().encode())

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _answer(self, body: bytes) -> None:
        self._head(200, len(body))
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the visitor has what was sent, and says what is missing

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
