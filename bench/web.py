"""One HTTP request at a time, by hand: is a name answering?"""

from __future__ import annotations

import socket

from .origin import ANSWER

ASK_SECONDS = 2.0


def answers(port: int, host: str) -> bool:
    """Whether `GET /` for `host` gives the origin's own 200. A connection of its own: nothing is kept."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ASK_SECONDS) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % host.encode())
            got = b""
            while ANSWER not in got and (data := sock.recv(65536)):
                got += data
    except OSError:
        return False
    return got.startswith(b"HTTP/1.1 200 ") and ANSWER in got
