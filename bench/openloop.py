"""An open-loop load: requests leave at a fixed rate by the clock, whether or not earlier ones were answered.

A closed loop (wrk) asks less of a system that stalls, and so hides the stall. Here a request's time runs from the
moment at which it was due, so that whoever waits for a busy connection counts. The loop waits by select(2), which takes
microseconds: epoll's whole milliseconds would be most of what is measured. Every request counts, the first ones too.

Run as a program of its own: `python -m bench.openloop PORT HOST RATE SECONDS` prints one JSON object, the figures. With
`--log FILE --from ADDRESS` its visitors come from ADDRESS, each FRESH_EVERY-th request on a connection of its own; it
ends early by SIGTERM, and FILE has a line for each request: when it was due (CLOCK_MONOTONIC), and the seconds until
its answer, negative for an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import selectors
import signal
from collections import deque
from functools import partial
from pathlib import Path

from .machine import allow_many_files

CONNECTIONS = 64
FRESH_EVERY = 10
WAITING = 10_000  # requests that are due and find every connection busy; past it they are errors
LAST_SECONDS = 3.0  # for answers after the last request; what has none by then is an error
PATIENCE_SECONDS = (
    5.0  # of a visitor who has come for one request (select takes 1,024 descriptors); then it is an error
)
AGAIN_SECONDS = 0.05  # before a connection that could not be made is tried again
ERROR = -1.0


class Visitor(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self, load: OpenLoop, *, only: float | None = None) -> None:
        """`only`: when the one request that it is made for was due."""
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._only = only is not None
        self._due = only
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._due is not None:
            transport.write(self._load.last_request)
            asyncio.get_running_loop().call_later(PATIENCE_SECONDS, transport.abort)
        else:
            self._load.free(self)

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
        if self._due is None:
            return  # refused before it has asked: the connection ends
        due, self._due = self._due, None
        self._load.answered(due, head.startswith(b"HTTP/1.1 200 "))
        assert self._transport is not None
        if self._only:
            self._transport.close()
        elif b"\r\nconnection: close" not in head.lower():
            self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._due is not None:
            self._load.answered(self._due, False)
        if not self._only:
            self._load.lost(self)


class OpenLoop:
    """The schedule, and what came of it."""

    def __init__(self, port: int, host: str, rate: float, seconds: float, source: str | None = None) -> None:
        self._port, self._interval, self._total = port, 1.0 / rate, int(rate * seconds)
        self._source = None if source is None else (source, 0)
        self._loop = asyncio.get_running_loop()
        fields = b"Host: %b\r\nUser-Agent: ferry-bench\r\nAccept: */*\r\n" % host.encode()
        self.request = b"GET / HTTP/1.1\r\n%b\r\n" % fields
        self.last_request = b"GET / HTTP/1.1\r\n%bConnection: close\r\n\r\n" % fields
        self._idle: deque[Visitor] = deque()
        self._waiting: deque[float] = deque()
        self._pending: set[float] = set()  # when each request was due that is not answered
        self._sent = 0
        self.log: list[tuple[float, float]] = []
        """When each request was due, and how long its answer took; ERROR if there was none, or not 200."""
        self._done = asyncio.Event()
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self) -> None:
        await asyncio.gather(*(self._connect(partial(Visitor, self)) for _ in range(CONNECTIONS)))
        start = self._loop.time() + 0.05
        self._loop.call_at(start, self._send_due, start)
        await self._done.wait()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._pending:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self.log += [(due, ERROR) for due in self._pending]

    def stop(self) -> None:
        """Send no more."""
        self._total = self._sent
        self._done.set()

    def _send_due(self, start: float) -> None:
        """Send everything that is due by now, and come again when the next one is."""
        now = self._loop.time()
        while self._sent < self._total and start + self._sent * self._interval <= now:
            due = start + self._sent * self._interval
            self._sent += 1
            self._pending.add(due)
            if self._source is not None and self._sent % FRESH_EVERY == 0:
                self._spawn_connect(partial(Visitor, self, only=due), due)
            elif self._idle:
                self._idle.popleft().ask(due)
            elif len(self._waiting) < WAITING:
                self._waiting.append(due)
            else:
                self.answered(due, False)
        if self._sent < self._total:
            self._loop.call_at(start + self._sent * self._interval, self._send_due, start)
        else:
            self._done.set()

    def answered(self, due: float, good: bool) -> None:
        self._pending.discard(due)
        self.log.append((due, self._loop.time() - due if good else ERROR))

    def free(self, visitor: Visitor) -> None:
        """A connection may be used."""
        if self._waiting:
            visitor.ask(self._waiting.popleft())
        else:
            self._idle.append(visitor)

    def lost(self, visitor: Visitor) -> None:
        """Another connection in place of one that has ended."""
        if visitor in self._idle:
            self._idle.remove(visitor)
        if not self._done.is_set():
            self._spawn_connect(partial(Visitor, self), None)

    def _spawn_connect(self, made: partial[Visitor], due: float | None) -> None:
        task: asyncio.Task[object] = self._loop.create_task(self._try(made, due))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, made: partial[Visitor], due: float | None) -> None:
        """A request that has a connection of its own ends where there is none; the others are tried for again."""
        while not self._done.is_set() or due is not None:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._connect(made)
            except OSError:  # TimeoutError is one
                if due is not None:
                    self.answered(due, False)
                    return
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _connect(self, made: partial[Visitor]) -> None:
        await self._loop.create_connection(made, "127.0.0.1", self._port, local_addr=self._source)


def figures(log: list[tuple[float, float]]) -> dict[str, float]:
    """`p50` and `p99` in ms, and `errors` in per cent. An error took for ever: what fails fast looks no faster for it."""
    times = sorted(math.inf if took == ERROR else took for _, took in log)
    return {
        "p50": 1000 * percentile(times, 0.50),
        "p99": 1000 * percentile(times, 0.99),
        "errors": 100.0 * times.count(math.inf) / len(times) if times else math.nan,
    }


def percentile(times: list[float], share: float) -> float:
    """Of sorted `times`; NaN if there are none."""
    return times[min(len(times) - 1, int(len(times) * share))] if times else math.nan


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _main(given: argparse.Namespace) -> None:
    load = OpenLoop(given.port, given.host, given.rate, given.seconds, given.source)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, load.stop)
    await load.run()
    if given.log is None:
        print(json.dumps(figures(load.log)))
    else:
        given.log.write_text("".join(f"{due:.6f} {took:.6f}\n" for due, took in load.log))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.openloop")
    parser.add_argument("port", type=int)
    parser.add_argument("host")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--from", dest="source")
    return parser.parse_args()


if __name__ == "__main__":
    allow_many_files()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_main(_arguments()))
