from __future__ import annotations

import subprocess
import sys

import pytest

from ferry.clock import SystemClock
from ferry.gateway.memory import Memory, allocator


@pytest.mark.skipif(allocator() is None, reason="this C library is not glibc, or older than 2.33")
def test_pages_between_blocks_that_are_in_use_go_back() -> None:
    code = """
import asyncio, os
from ferry.gateway.memory import Memory, allocator

class Slow:
    # a minute passes between two looks, so that it is quiet

    seconds = 0.0

    def monotonic(self):
        self.seconds += 60
        return self.seconds

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

told = []
memory = Memory(allocator(), clock=Slow(), report=lambda event, /, **fields: told.append(event))
blocks = [bytes(20_000) for _ in range(5_000)]
kept = blocks[::50]
del blocks
before = resident()
asyncio.run(memory.look())
after = resident()
asyncio.run(memory.look())
print(before, after, *told)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    before, after, *told = done.stdout.split()
    assert int(before) - int(after) > 60
    assert told == ["memory.trimmed"]  # the second time there was nothing to give


async def test_another_c_library_trims_no_memory() -> None:
    told: list[str] = []
    memory = Memory(None, clock=SystemClock(), report=lambda event, /, **_: told.append(event))
    await memory.look()
    assert told == []
