"""Errors of our own that ended one thing: logged with a traceback, but not as often as somebody can bring them about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ferry import limits

if TYPE_CHECKING:
    from ferry.clock import Clock

_log = logging.getLogger("ferry.ssh")


class Faults:
    """One line with a traceback every FAULT_SECONDS; what came between is counted, and told with the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = 0.0  # monotonic
        self._unsaid = 0

    def note(self, what: str, error: Exception) -> None:
        """`what` has ended with `error`, and nothing else has."""
        now = self._clock.monotonic()
        if now < self._next:
            self._unsaid += 1
            return
        self._next = now + limits.FAULT_SECONDS
        unsaid, self._unsaid = self._unsaid, 0
        more = f" ({unsaid} more were not logged)" if unsaid else ""
        _log.error("%s was ended by an error%s", what, more, exc_info=error)
