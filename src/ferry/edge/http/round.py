"""Shares the loop among visitors and services that send much work at once: each does one piece in turn.

A peer may send its bytes in tiny units: 8 MB of short requests, or of chunks of one byte, stopped the loop for fifteen
seconds. A peer with more than one piece of work waits here for its turn, and nothing reads from it meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from ferry import limits

_log = logging.getLogger("ferry.edge")


class CatchesUp(Protocol):
    """A connection or an upstream with more than one piece of work."""

    def catch_up(self) -> None:
        """Do the next piece. Call `Round.later` again if there is more."""
        ...

    def fail(self) -> None:
        """The piece has raised an error: end the connection or the stream."""
        ...


class Round:
    """The queue of one edge. What waits is in it once at most."""

    def __init__(self) -> None:
        self._waiting: deque[CatchesUp] = deque()

    def later(self, behind: CatchesUp) -> None:
        """Queue `behind` for its next piece."""
        self._waiting.append(behind)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        """Do PIECES_IN_A_TURN. One that queues again goes behind those that wait already."""
        for _ in range(min(len(self._waiting), limits.PIECES_IN_A_TURN)):
            behind = self._waiting[0]
            try:
                behind.catch_up()
            except Exception:  # it ends one visitor, or one stream
                _log.exception("a piece of work failed")
                _fail(behind)
            self._waiting.popleft()  # only now, so that `later` cannot start a second round
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run)


def _fail(behind: CatchesUp) -> None:
    try:
        behind.fail()
    except Exception:  # the round must go on: it starts again only when no piece waits
        _log.exception("could not end what a piece of work belongs to")
