"""Thousands of visitors who leave cost a gateway's process neither descriptors nor memory, nor its client a connection.

FERRY_LEAVERS=10000 makes it so many; `edge/test_leavers.py` looks at each stage from inside.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from edge.http_rig import service
from edge.test_leavers import HTTP_STAGES, TCP_STAGES, leave, local_service
from gateway_process import Gateway

LEAVERS = int(os.environ.get("FERRY_LEAVERS", "1200"))
AT_ONCE = 100
ROUNDS = 4
GROWTH = 768 * 1024
"""What one round of LEAVERS may add. What leaks, leaks in every round; an allocator that finds its size stops."""
SECONDS = 60


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


KEPT_AFTER_FIN = {"while the channel opens", "waiting", "asking for an upgrade"}
"""An end of file may be half a close: these get limits.HALF_CLOSED_SECONDS for their answer."""


async def all_leave(http: int, tcp: int, count: int) -> None:
    """At every stage and in both ways, AT_ONCE at a time."""
    visits = [(http, stage, "RST") for stage in HTTP_STAGES.values()]
    visits += [(http, stage, "FIN") for name, stage in HTTP_STAGES.items() if name not in KEPT_AFTER_FIN]
    visits += [(tcp, stage, how) for stage in TCP_STAGES.values() for how in ("FIN", "RST")]
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(leave(*visits[number % len(visits)]) for number in numbers))


async def test_thousands_of_visitors_that_leave_keep_no_descriptor_and_no_memory(
    start_gateway: Callable[..., Gateway], key: Path, tmp_path: Path
) -> None:
    gateway = start_gateway(http={"head_timeout": "2s"})
    port = next(gateway.loopback_ports)
    async with service(local_service) as target:
        to = f"127.0.0.1:{target}"
        ssh = gateway.ssh(tmp_path, key).start("-T", "-R", f"leavers:80:{to}", "-R", f"{port}:{to}")
        try:
            await asyncio.to_thread(ssh.line, "^Forwarding TCP")
            pids = (gateway.running.process.pid, ssh.process.pid)
            fresh = [descriptors(pid) for pid in pids]

            async def back() -> None:
                deadline = time.monotonic() + SECONDS
                while (now := [descriptors(pid) for pid in pids]) != fresh:
                    assert time.monotonic() < deadline, (fresh, now)
                    await asyncio.sleep(0.1)

            await all_leave(gateway.ports.http, port, max(500, LEAVERS // 10))  # buffers and caches get their size
            grown = []
            for _ in range(ROUNDS):
                await back()
                before = gateway.memory()
                await all_leave(gateway.ports.http, port, LEAVERS)
                await back()
                grown.append(gateway.memory() - before)
                if grown[-1] <= GROWTH:
                    break
            assert min(grown) <= GROWTH, grown
            assert len(gateway.ask("tunnels")) == 2
        finally:
            await asyncio.to_thread(ssh.close)
