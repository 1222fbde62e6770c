"""Finds the reset of a visitor while nothing reads from it.

While reading is paused, and after an end-of-file, the loop does not watch a socket unless there are bytes to write. A
visitor that resets then would keep its descriptor, its place and its stream until its service says something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferry import limits

from .unsent import has_left


class Unwatched:
    """The check for one visitor. `unread()` is true while nothing reads from it; `left()` is called after its reset.

    An upload pauses and goes on hundreds of times a second. So a running timer keeps running, and asks `unread`.
    """

    __slots__ = ("_left", "_timer", "_transport", "_unread")

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool], left: Callable[[], None]) -> None:
        self._transport = transport
        self._unread = unread
        self._left = left
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Reading has paused. Check each LEFT_LOOK_SECONDS until it goes on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(limits.LEFT_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._unread() or self._transport.is_closing():
            return
        if has_left(self._transport):
            self._left()
        else:
            self.watch()

    def forget(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
