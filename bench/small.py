"""Visitors who each have a kept connection and all ask for something small at the same moment: how long does it take?

Run as a program of its own: `python -m bench.small PORT HOST VISITORS TIMES` prints the 99th percentile in ms.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from contextlib import ExitStack

from .origin import ANSWER

ANSWER_SECONDS = 10.0


def moments(port: int, host: str, visitors: int, count: int) -> list[float]:
    """The ms that each request of `count` such moments took, sorted. Raises OSError where one is not answered."""
    request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()
    found = []
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        sockets = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(visitors)]
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ)
        for _ in range(count):
            began = time.perf_counter()
            for sock in sockets:
                sock.sendall(request)
            got = dict.fromkeys(sockets, b"")
            taken: list[float] = []
            while len(taken) < visitors:
                if not (ready := selector.select(ANSWER_SECONDS)):
                    raise OSError("no answer")
                for key, _ in ready:
                    assert isinstance(key.fileobj, socket.socket)
                    if not (data := key.fileobj.recv(65536)):
                        raise OSError("the connection was closed")
                    got[key.fileobj] += data
                    if ANSWER in got[key.fileobj]:
                        taken.append(1000 * (time.perf_counter() - began))
            found.append(taken)
    return sorted(each for taken in found for each in taken)


if __name__ == "__main__":
    sorted_times = moments(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(sorted_times[int(len(sorted_times) * 0.99) - 1])
