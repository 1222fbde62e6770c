"""Polling, for tests without an event loop: waits for a change in another process that sends no event."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60.0
LOOK_SECONDS = 0.02


def until(condition: Callable[[], object]) -> None:
    """Wait until `condition` is true. Raises AssertionError after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(LOOK_SECONDS)
