"""Turns of the event loop, for what ends in one of the next and has no event of its own to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 20.0
TURNS = 1000
LOOK_SECONDS = 0.001


async def turns(count: int = 1) -> None:
    """So many go by."""
    for _ in range(count):
        await asyncio.sleep(0)


async def timers(seconds: float) -> None:
    """Every timer that is due within `seconds` has fired: so much shows that something does not happen. On a hurried loop
    (`hurried_loop`) it takes no time."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], object], *, every: float = 0) -> None:
    """Until `condition` gives something true at the end of a turn. What takes more than TURNS of them is looked at once
    in LOOK_SECONDS, so that it does not take the processor from what it waits for.

    `every`: seconds between two looks from the first on, where a look is dear. Raises TimeoutError after SECONDS.
    """
    async with asyncio.timeout(SECONDS):
        for _ in range(0 if every else TURNS):
            if condition():
                return
            await turns()
        while not condition():
            await asyncio.sleep(every or LOOK_SECONDS)
