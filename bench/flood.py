"""Somebody who keeps a gateway busy before log-in: silent connections from many networks, and keys that nobody knows.

Any address of 127.0.0.0/8 may be where a connection comes from, so each 127.x.y.0/24 stands for a network. Run as a
program of its own: `python -m bench.flood PORT IDLE` prints a line when the silent ones have connected, and goes on
until it is ended. Those that the gateway ends come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys

import asyncssh
import uvloop

from .machine import allow_many_files

NETWORKS = 100
BRUTES = 4  # log-ins with a new key under way at any time
COME_BACK_SECONDS = 0.5


async def _silent(port: int, number: int, connected: asyncio.Semaphore) -> None:
    source = (f"127.1.{number % NETWORKS}.{1 + number // NETWORKS}", 0)
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
            connected.release()
            while await reader.read(4096):
                pass
            writer.close()
        await asyncio.sleep(COME_BACK_SECONDS)


async def _brute(port: int, number: int) -> None:
    for attempt in itertools.count():
        source = (f"127.2.{number}.{1 + attempt % 250}", 0)
        key = asyncssh.generate_private_key("ssh-ed25519")
        with contextlib.suppress(OSError, asyncssh.Error):
            async with asyncssh.connect(
                "127.0.0.1", port, username="root", client_keys=[key], known_hosts=None, local_addr=source, config=None
            ):
                pass


async def _main(port: int, idle: int) -> None:
    connected = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for number in range(idle):
            tasks.create_task(_silent(port, number, connected))
        for _ in range(idle):
            await connected.acquire()
        print("there", flush=True)
        for number in range(BRUTES):
            tasks.create_task(_brute(port, number))


if __name__ == "__main__":
    allow_many_files()
    uvloop.run(_main(int(sys.argv[1]), int(sys.argv[2])))
