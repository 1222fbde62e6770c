"""The only way to start a task: it has a name, is kept alive, and its failure is never silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_alive: set[asyncio.Task[Any]] = set()  # the loop keeps weak references only; a task nobody holds may vanish
_log = logging.getLogger("ferry.tasks")


def spawn(name: str, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Start `coroutine` as a task called `name`. An exception that nobody awaits is logged with that name."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _alive.add(task)
    task.add_done_callback(_done)
    return task


def _done(task: asyncio.Task[Any]) -> None:
    _alive.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("task %s failed", task.get_name(), exc_info=error)
