"""Turns of the event loop, for what ends in one of the next and has no event of its own to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 10.0


async def turns(count: int = 1) -> None:
    """So many go by."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Until `condition` gives something true at the end of a turn. Raises TimeoutError after SECONDS."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await turns()
