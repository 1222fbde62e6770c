"""Small requests one after the other on one kept connection, as a person's browser makes them: how long does one take?

Run as a program of its own: `python -m bench.small PORT HOST COUNT` prints the 99th percentile in ms.
"""

from __future__ import annotations

import socket
import sys
import time

from .origin import ANSWER

ANSWER_SECONDS = 10.0


def times(port: int, host: str, count: int) -> list[float]:
    """The ms that each of `count` requests took, sorted. Raises OSError where one is not answered."""
    request = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter()
            sock.sendall(request)
            got = b""
            while ANSWER not in got:
                if not (data := sock.recv(65536)):
                    raise OSError("the connection was closed")
                got += data
            found.append(1000 * (time.perf_counter() - began))
    return sorted(found)


if __name__ == "__main__":
    taken = times(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print(taken[int(len(taken) * 0.99) - 1])
