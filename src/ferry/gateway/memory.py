"""Gives memory back to the system after a rush.

glibc keeps freed memory below the highest block in use. A thousand visitors that read slowly fill some 150 MB with
buffers. After they have left, a few small blocks keep all of it: the process stayed at 210 MB instead of 56.
`malloc_trim` (malloc_trim(3)) gives back the pages in between; fewer arenas, a fixed M_TRIM_THRESHOLD and a fixed
M_MMAP_THRESHOLD do not (docs/performance.md has the figures). It holds the allocator's lock for about 0.25 ms per
megabyte, and allocating threads wait that long. So it runs when there is enough to give back and the gateway is quiet.

With another C library it does nothing (musl gives freed pages back by itself).
"""

from __future__ import annotations

import asyncio
import ctypes
import resource
from pathlib import Path
from typing import Final, Protocol

from ferry.clock import Clock
from ferry.limiters.trimming import Trimming
from ferry.report import Report

_STATM: Final = Path("/proc/self/statm")
_FIELDS: Final = (
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
)


class Allocator(Protocol):
    """The C library's allocator. Both calls take the lock that allocations need; neither holds Python's."""

    def free(self) -> int:
        """Free bytes in its arenas. The system may have some of them back already."""
        ...

    def trim(self) -> None:
        """Give back all whole free pages."""
        ...


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]  # ctypes wants a list


class Glibc:
    """glibc from 2.33 on. Raises OSError or AttributeError with another library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._trim = library.malloc_trim
        self._info = library.mallinfo2
        self._info.restype = _Mallinfo2

    def free(self) -> int:
        return int(self._info().fordblks)

    def trim(self) -> None:
        self._trim(0)


def allocator() -> Allocator | None:
    """The C library's allocator, if it can give memory back."""
    try:
        return Glibc()
    except (AttributeError, OSError):
        return None


def give_back() -> None:
    """Give back what the start has freed, a megabyte. It takes some milliseconds: call it before anybody is served."""
    if (known := allocator()) is not None:
        known.trim()


class Memory:
    """Trims free memory. Call `look` every `limits.TRIM_LOOK_SECONDS`."""

    def __init__(self, allocator: Allocator | None, *, clock: Clock, report: Report) -> None:
        self._allocator = allocator
        self._clock = clock
        self._report = report
        self._policy = Trimming()
        self._looked, self._used = clock.monotonic(), _processor_seconds()

    async def look(self) -> None:
        """Give memory back if there is enough and the gateway is quiet. It runs in a thread; the loop waits only if it
        allocates."""
        if self._allocator is None:
            return
        now, used = self._clock.monotonic(), _processor_seconds()
        busy = (used - self._used) / max(now - self._looked, 0.001)
        self._looked, self._used = now, used
        free = await asyncio.to_thread(self._allocator.free)
        if not self._policy.look(free, _resident(), busy, now):
            return
        began = self._clock.monotonic()
        await asyncio.to_thread(self._allocator.trim)
        self._report("memory.trimmed", free=free, seconds=self._clock.monotonic() - began)
        self._policy.trimmed(await asyncio.to_thread(self._allocator.free), _resident())


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident() -> int:
    """Bytes of this process in memory (proc(5), statm)."""
    with _STATM.open("rb") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
