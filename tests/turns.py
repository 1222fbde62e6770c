"""Waits for turns of the event loop, for changes without an event to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 20.0
TURNS = 1000
LOOK_SECONDS = 0.001


async def turns(count: int = 1) -> None:
    """Wait for `count` turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def timers(seconds: float) -> None:
    """Let every timer due within `seconds` fire, to show that an event does not happen. On a hurried loop
    (`hurried_loop`) it takes no time."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], object], *, every: float = 0) -> None:
    """Wait until `condition` is true at the end of a turn. After TURNS it checks once in LOOK_SECONDS only, so that the
    checks leave processor time to the work that it waits for.

    `every`: seconds between two checks from the first on, for a costly check. Raises TimeoutError after SECONDS.
    """
    async with asyncio.timeout(SECONDS):
        for _ in range(0 if every else TURNS):
            if condition():
                return
            await turns()
        while not condition():
            await asyncio.sleep(every or LOOK_SECONDS)
