"""Many clients in one process, by a library: a thousand `ssh` processes would measure themselves.

The same code for every system that takes stock `ssh`. Each client has a key and a name of its own and holds one
forward. Run as a program: `python -m bench.farm SPEC` with a JSON object; then a number on standard input asks for that
many clients in all, and one JSON object on standard output says when they are there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import uvloop

from .machine import allow_many_files

AT_ONCE = 64  # log-ins under way, the first time: some systems answer slowly while they are idle
LOGIN_SECONDS = 30.0
FIRST_WAIT_SECONDS = (
    0.25  # back-off of a client that lost its gateway: doubled, with jitter, up to LONGEST_WAIT_SECONDS
)
LONGEST_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Spec:
    """Where the clients go. `names`: each publishes `tN` at port 80; else a port that the server chooses."""

    ssh_port: int
    origin_port: int
    keys: str
    names: bool
    user: str
    stay: bool
    """Whether a client that loses its gateway comes back."""


class Farm:
    """The clients."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._wanted = 0
        self._there: dict[int, asyncssh.SSHClientConnection] = {}
        self._lost = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def grow(self, wanted: int) -> None:
        """Connect until there are `wanted`."""
        numbers = range(self._wanted, wanted)
        self._wanted = wanted
        started = time.monotonic()
        errors = await asyncio.gather(*(self._first(number) for number in numbers))
        failed = [error for error in errors if error]
        _say(connected=len(self._there), seconds=time.monotonic() - started, failed=failed[:3])

    async def _first(self, number: int) -> str | None:
        async with self._slots:
            try:
                await self._connect(number)
            except (OSError, asyncssh.Error, TimeoutError) as error:
                return f"{type(error).__name__}: {error}"
        if self._spec.stay:
            task = asyncio.get_running_loop().create_task(self._keep(number))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return None

    async def _keep(self, number: int) -> None:
        """Come back whenever the gateway is lost."""
        while True:
            await self._there[number].wait_closed()
            del self._there[number]
            if len(self._there) == self._wanted - 1:
                self._lost = 0
            self._lost += 1
            wait = FIRST_WAIT_SECONDS
            while number not in self._there:
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)
                try:
                    await self._connect(number)
                except (OSError, asyncssh.Error, TimeoutError):
                    continue
            if len(self._there) == self._wanted:
                _say(back=self._lost, at=time.monotonic())

    async def _connect(self, number: int) -> None:
        spec = self._spec
        async with asyncio.timeout(LOGIN_SECONDS):
            connection = await asyncssh.connect(
                "127.0.0.1",
                spec.ssh_port,
                username=spec.user,
                client_keys=[asyncssh.read_private_key(Path(spec.keys) / f"key{number}")],
                config=None,
                known_hosts=None,
                server_host_key_algs=["ssh-ed25519"],  # stock ssh's choice; the library's own would be a slow RSA key
                agent_path=None,
            )
            host, port = (f"t{number}", 80) if spec.names else ("127.0.0.1", 0)
            try:
                await connection.forward_remote_port(host, port, "127.0.0.1", spec.origin_port)
            except BaseException:
                connection.abort()
                raise
        self._there[number] = connection


def _say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def _main(spec: Spec) -> None:
    farm = Farm(spec)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await farm.grow(int(line))


if __name__ == "__main__":
    allow_many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(Spec(**json.loads(sys.argv[1]))))
