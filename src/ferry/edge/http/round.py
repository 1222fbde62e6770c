"""Work that a visitor or a service can ask for without end, done piece by piece, in a round.

How finely a peer cuts its bytes is its own affair: 8 MB of short requests, or of chunks of one byte, took the loop for
fifteen seconds. Whoever has more than one piece to do waits here; nothing is read from it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from ferry import limits

_log = logging.getLogger("ferry.edge")


class Worker(Protocol):
    """Whoever has fallen behind."""

    def catch_up(self) -> None:
        """Do the next piece; `Round.later` again if that was not all."""
        ...

    def fail(self) -> None:
        """The piece has raised an error: end what it belongs to."""
        ...


class Round:
    """Of one edge. Each worker is in it once at most."""

    def __init__(self) -> None:
        self._waiting: deque[Worker] = deque()

    def later(self, worker: Worker) -> None:
        """Let `worker` catch up when it is its turn."""
        self._waiting.append(worker)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._go_round)

    def _go_round(self) -> None:
        """PIECES_IN_A_TURN; those who are here already come before those who fall behind again."""
        for _ in range(min(len(self._waiting), limits.PIECES_IN_A_TURN)):
            worker = self._waiting[0]
            try:
                worker.catch_up()
            except Exception:  # it ends one visitor, or one stream
                _log.exception("a piece of work failed")
                worker.fail()
            self._waiting.popleft()  # only now: else `later` would begin a second round
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._go_round)
