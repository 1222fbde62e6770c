"""Starts all tasks. Each has a name, is kept alive, and logs its failure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn

_alive: set[asyncio.Task[Any]] = set()  # the loop keeps weak references only, so a task without others may vanish
_log = logging.getLogger("ferry.tasks")


def spawn(name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start `coroutine` as a task called `name`. An unawaited exception is logged with that name."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _alive.add(task)
    task.add_done_callback(_done)
    return task


async def repeat(name: str, seconds: float, action: Callable[[], Awaitable[object]]) -> NoReturn:
    """Call `action` every `seconds`, for ever. An exception is logged with `name`, and the loop goes on."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await action()
        except Exception as error:  # one failure must not end the loop that revokes keys or keeps deadlines
            _failed(name, error)


def _done(task: asyncio.Task[Any]) -> None:
    _alive.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _failed(task.get_name(), error)


def _failed(name: str, error: BaseException) -> None:
    _log.error("task %s failed", name, exc_info=error)
