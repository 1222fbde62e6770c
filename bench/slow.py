"""Visitors who hold what they get: slow heads, slow bodies, ranges, slow reading, and requests that are never answered.

slowhttptest comes from one address, and does not come back when it is closed. These come from as many addresses as they
are told (any address of 127.0.0.0/8 may be where a connection comes from), and whoever is closed, refused or answered
comes back, REOPENS_PER_SECOND at most.

Run as a program of its own: `python -m bench.slow PORT HOST KIND ADDRESSES CONNECTIONS SECONDS FILE LEAVE` writes one
JSON object to FILE at its end. ADDRESSES is a number, or the one address that all come from. LEAVE says how they leave at
the end: `close`, which a gateway may take for half a close, or `reset`. Times are of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import heapq
import json
import random
import select
import socket
import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from .machine import allow_many_files

FIRST_PER_SECOND = 1000  # until all have come once
REOPENS_PER_SECOND = 500
EVERY_SECONDS = 5.0  # between two signs of life, below every server's usual patience
TURN_SECONDS = 0.02  # the longest wait for the network
RECEIVE_BUFFER_BYTES = 4096  # of those who read slowly; the kernel doubles it
_RESET = struct.pack("ii", 1, 0)
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


@dataclass(frozen=True, slots=True)
class Kind:
    """What one kind of slow visitor does."""

    first: str
    again: bytes = b""
    """What it sends every EVERY_SECONDS."""
    reads: int = 0
    """Bytes that it reads every EVERY_SECONDS; 0: all that comes, at once, and an answer is the end."""
    stays: bool = False
    """A good answer is not the end: it stays, and says no more."""


_RANGES = ",".join(f"{first}-{first + 99_999}" for first in range(0, 2_000_000, 200_000))
_FIELDS = "Host: {host}\r\nUser-Agent: ferry-bench-slow\r\n"
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "heads": Kind(f"GET / HTTP/1.1\r\n{_FIELDS}X-0: a", b"\r\nX-a: b"),
        "bodies": Kind(f"PUT /uploads/slow HTTP/1.1\r\n{_FIELDS}Content-Length: 100000\r\n\r\nx", b"x"),
        "ranges": Kind(f"GET /bulk HTTP/1.1\r\n{_FIELDS}Range: bytes={_RANGES}\r\n\r\n", reads=96),
        "reading": Kind(f"GET /bulk HTTP/1.1\r\n{_FIELDS}\r\n", reads=96),
        "silent": Kind(f"GET /silent/ HTTP/1.1\r\n{_FIELDS}\r\n"),
    }
)
IDLE = "idle"
MIXED = "mixed"
_OF_ALL: Final[Mapping[str, Kind]] = MappingProxyType(
    {**KINDS, IDLE: Kind(f"GET / HTTP/1.1\r\n{_FIELDS}\r\n", stays=True)}
)


class Slow:
    """One connection."""

    __slots__ = ("asked", "kind", "number", "sock")

    def __init__(self, number: int, kind: Kind, sock: socket.socket) -> None:
        self.number, self.kind, self.sock = number, kind, sock
        self.asked = False


class Attack:
    """All of them."""

    def __init__(self, port: int, host: str, kind: str, addresses: list[str], connections: int) -> None:
        self._port, self._host = port, host
        self._kinds = list(KINDS.values()) if kind == MIXED else [_OF_ALL[kind]]
        self._addresses = addresses
        self._poll = select.epoll()
        self._there: dict[int, Slow] = {}
        self._due: list[tuple[float, int, Slow]] = []  # whose next sign of life is when
        self._numbers = 0
        self._absent = deque(range(connections))
        self._connections = connections
        self._opened = self._asked = self._holding = 0
        self._ends: Counter[str] = Counter()
        self._held: list[int] = []

    def run(self, seconds: float, *, reset: bool) -> dict[str, object]:
        """Attack for so long, and leave by a close or a `reset`."""
        first = time.monotonic()
        last = first + seconds
        share, before = 0.0, first
        while (now := time.monotonic()) < last:
            new = self._opened < self._connections
            rate = FIRST_PER_SECOND if new else REOPENS_PER_SECOND
            share = min(share + rate * (now - before), rate * 10 * TURN_SECONDS)  # what was not used is not kept
            before = now
            while self._absent and share >= 1:
                share -= 1
                self._open(self._absent.popleft())
            for descriptor, events in self._poll.poll(TURN_SECONDS, 1024):
                if (slow := self._there.get(descriptor)) is not None:
                    self._happened(slow, events, now)
            while self._due and self._due[0][0] <= now:
                self._again(heapq.heappop(self._due)[2], now)
            if len(self._held) < int(now - first):
                self._held.append(self._holding)
        for slow in list(self._there.values()):
            if reset:
                slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            slow.sock.close()
        return {
            "first": first,
            "last": time.monotonic(),
            "opened": self._opened,
            "asked": self._asked,
            "held": self._held,
            "ends": dict(self._ends),
        }

    def _open(self, number: int) -> None:
        kind = self._kinds[number % len(self._kinds)]
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT: ports are counted by destination
        if kind.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind((self._addresses[number // len(self._kinds) % len(self._addresses)], 0))
        self._opened += 1
        slow = Slow(number, kind, sock)
        code = sock.connect_ex(("127.0.0.1", self._port))
        self._there[sock.fileno()] = slow
        self._poll.register(sock, _GONE | select.EPOLLOUT)
        if code not in {0, 115}:  # EINPROGRESS
            self._end(slow, "not connected")

    def _happened(self, slow: Slow, events: int, now: float) -> None:
        if events & (select.EPOLLERR | select.EPOLLHUP):
            self._end(slow, "reset" if slow.asked else "not connected")
        elif not slow.asked:
            self._ask(slow, now)
        elif events & select.EPOLLIN or events & select.EPOLLRDHUP:
            how = self._answer(slow)
            if not (slow.kind.stays and how == "answered 200"):
                self._end(slow, how)

    def _ask(self, slow: Slow, now: float) -> None:
        try:
            slow.sock.send(slow.kind.first.format(host=self._host).encode())
        except OSError:
            self._end(slow, "reset")
            return
        slow.asked = True
        self._asked += 1
        self._holding += 1
        self._poll.modify(slow.sock, _GONE if slow.kind.reads else _GONE | select.EPOLLIN)
        if slow.kind.again or slow.kind.reads:
            # the first sign at any moment, or all would come in one
            heapq.heappush(self._due, (now + EVERY_SECONDS * random.uniform(0.2, 1), self._next(), slow))

    def _again(self, slow: Slow, now: float) -> None:
        if self._there.get(slow.sock.fileno()) is not slow:
            return
        try:
            if slow.kind.reads:
                slow.sock.recv(slow.kind.reads)
            else:
                slow.sock.send(slow.kind.again)
        except BlockingIOError:
            pass
        except OSError:
            self._end(slow, "reset")
            return
        heapq.heappush(self._due, (now + EVERY_SECONDS, self._next(), slow))

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    @staticmethod
    def _answer(slow: Slow) -> str:
        try:
            data = slow.sock.recv(65536)
        except OSError:
            return "reset"
        return f"answered {data[9:12].decode('latin-1')}" if data.startswith(b"HTTP/1.1 ") else "closed"

    def _end(self, slow: Slow, how: str) -> None:
        del self._there[slow.sock.fileno()]
        self._holding -= slow.asked
        self._ends[how] += 1
        slow.sock.close()
        self._absent.append(slow.number)


def addresses_of(text: str) -> list[str]:
    """`50`: so many, of networks (/24) of their own. `127.0.0.1`: this one."""
    return [text] if "." in text else [f"127.1.{number}.1" for number in range(int(text))]


if __name__ == "__main__":
    allow_many_files()
    attack = Attack(int(sys.argv[1]), sys.argv[2], sys.argv[3], addresses_of(sys.argv[4]), int(sys.argv[5]))
    Path(sys.argv[7]).write_text(json.dumps(attack.run(float(sys.argv[6]), reset=sys.argv[8] == "reset")))
