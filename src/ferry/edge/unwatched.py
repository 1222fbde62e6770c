"""A visitor that is not read from: its reset is looked for.

While reading is paused, and after an end-of-file, the loop watches a socket for nothing unless there is something to
write. A visitor that resets then would keep its descriptor, its place and its stream for as long as its service sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferry import limits

from .unsent import has_left


class Unwatched:
    """Of one visitor. `unread` tells whether it is still not read from; `left` is called once it has gone.

    An upload pauses and goes on hundreds of times a second: so a timer that runs is left to run, and asks `unread`.
    """

    __slots__ = ("_left", "_timer", "_transport", "_unread")

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool], left: Callable[[], None]) -> None:
        self._transport = transport
        self._unread = unread
        self._left = left
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """From now on it is not read from. Looks each LEFT_LOOK_SECONDS for as long as that is so."""
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
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
