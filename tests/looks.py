"""For tests without an event loop: what another process does, and tells nobody of, is looked at again and again."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 60.0
LOOK_SECONDS = 0.02


def until(condition: Callable[[], object]) -> None:
    """Return once `condition` gives something true; AssertionError after SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(LOOK_SECONDS)
