"""An open-loop load: requests leave at a fixed rate by the clock, whether or not earlier ones were answered.

A closed loop (wrk) asks less of a system that stalls, and so hides the stall. Here a request's time runs from the
moment at which it was due, so that whoever waits for a busy connection counts. The loop waits by select(2), which takes
microseconds: epoll's whole milliseconds would be most of what is measured.

Run as a program of its own: `python -m bench.openloop PORT HOST RATE SECONDS` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from collections import deque

CONNECTIONS = 64
WAITING = 10_000  # requests that are due and find every connection busy; past it they are errors
LAST_SECONDS = 3.0  # for answers after the last request
WARM_SHARE = 0.15  # of the requests: sent, and not counted


class Visitor(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, load: OpenLoop) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._due: float | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._load.idle.append(self)

    def ask(self, due: float) -> None:
        assert self._transport is not None
        self._due = due
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        self._got = b""
        assert self._due is not None
        self._load.answered(self._due, head.startswith(b"HTTP/1.1 200 "))
        self._due = None
        if b"\r\nconnection: close" not in head.lower():
            self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            self._load.answered(self._due, False)
        if self in self._load.idle:
            self._load.idle.remove(self)
        self._load.lost()


class OpenLoop:
    """The schedule, and what came of it."""

    def __init__(self, port: int, host: str, rate: float, seconds: float) -> None:
        self._port, self._interval, self._total = port, 1.0 / rate, int(rate * seconds)
        self._loop = asyncio.get_running_loop()
        self.request = b"GET / HTTP/1.1\r\nHost: %b\r\nUser-Agent: ferry-bench\r\nAccept: */*\r\n\r\n" % host.encode()
        self.idle: deque[Visitor] = deque()
        self._waiting: deque[float] = deque()
        self._sent = self._ended = self._errors = 0
        self._times: list[float] = []
        self._counted_from = 0.0
        self._done = asyncio.Event()
        self._connects: set[asyncio.Task[object]] = set()

    async def run(self) -> dict[str, float]:
        for _ in range(CONNECTIONS):
            await self._connect()
        start = self._loop.time() + 0.05
        self._counted_from = start + self._total * WARM_SHARE * self._interval
        self._loop.call_at(start, self._send_due, start)
        try:
            async with asyncio.timeout(self._total * self._interval + LAST_SECONDS):
                await self._done.wait()
        except TimeoutError:
            self._errors += self._total - self._ended
        times = sorted(self._times) or [float("nan")]
        return {
            "p50": 1000 * times[len(times) // 2],
            "p99": 1000 * times[int(len(times) * 0.99)],
            "errors": 100.0 * self._errors / self._total,
        }

    def _send_due(self, start: float) -> None:
        """Send everything that is due by now, and come again when the next one is."""
        now = self._loop.time()
        while self._sent < self._total and start + self._sent * self._interval <= now:
            due = start + self._sent * self._interval
            self._sent += 1
            if self.idle:
                self.idle.popleft().ask(due)
            elif len(self._waiting) < WAITING:
                self._waiting.append(due)
            else:
                self.answered(due, False)
        if self._sent < self._total:
            self._loop.call_at(start + self._sent * self._interval, self._send_due, start)

    def answered(self, due: float, good: bool) -> None:
        self._ended += 1
        if not good:
            self._errors += 1
        elif due >= self._counted_from:
            self._times.append(self._loop.time() - due)
        if self._ended >= self._total:
            self._done.set()

    def free(self, visitor: Visitor) -> None:
        """A connection may be used again."""
        if self._waiting:
            visitor.ask(self._waiting.popleft())
        else:
            self.idle.append(visitor)

    def lost(self) -> None:
        """Another connection in place of one that has ended."""
        if self._ended < self._total:
            task: asyncio.Task[object] = self._loop.create_task(self._connect())
            self._connects.add(task)
            task.add_done_callback(self._connects.discard)

    async def _connect(self) -> None:
        await self._loop.create_connection(lambda: Visitor(self), "127.0.0.1", self._port)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _main(port: int, host: str, rate: float, seconds: float) -> None:
    print(json.dumps(await OpenLoop(port, host, rate, seconds).run()))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
