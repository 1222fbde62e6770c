"""Finds the program that holds a TCP port of this host, as far as /proc shows it to this user.

A look-up reads the descriptors of all processes of the host. So it never runs on the event loop, and a client cannot
make it run more often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ferry import limits, tasks
from ferry.clock import Clock
from ferry.names import printable
from ferry.report import Report

_LISTEN: Final = "0A"  # TCP_LISTEN in include/net/tcp_states.h
_LOCAL, _STATE, _INODE = 1, 3, 9  # columns of /proc/net/tcp, Documentation/networking/proc_net_tcp.rst


class PortOwners:
    """Finds the program on a port that a tunnel failed to open, and reports `port.taken` to the log.

    Look-ups run in a thread, one at a time, PORT_OWNERS_PACE_SECONDS apart, and once in PORT_OWNER_SECONDS for the same
    port. Calls in between are dropped. `find` blocks.
    """

    def __init__(self, *, report: Report, clock: Clock, find: Callable[[int], str] | None = None) -> None:
        self._report = report
        self._clock = clock
        self._find = port_owner if find is None else find
        self._asked: dict[int, float] = {}
        """The time of each port's last look-up (monotonic seconds), the oldest first."""
        self._next = 0.0
        """The earliest time of the next look-up."""

    def ask(self, port: int) -> None:
        """A tunnel failed to open `port`. Returns at once."""
        now = self._clock.monotonic()
        if now < self._next or now < self._asked.get(port, -limits.PORT_OWNER_SECONDS) + limits.PORT_OWNER_SECONDS:
            return
        self._next = float("inf")
        self._asked.pop(port, None)
        self._asked[port] = now
        if len(self._asked) > limits.PORT_OWNERS_REMEMBERED:
            del self._asked[next(iter(self._asked))]
        tasks.spawn(f"owner of port {port}", self._tell(port))

    async def _tell(self, port: int) -> None:
        try:
            owner = await asyncio.to_thread(self._find, port)
        finally:
            self._next = self._clock.monotonic() + limits.PORT_OWNERS_PACE_SECONDS
        self._report("port.taken", port=port, owner=owner)


def port_owner(port: int) -> str:
    """`nginx (pid 812)`, or `another program` if this user may not see the process."""
    links = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").iterdir() if links else ():
        if process.name.isdecimal() and _holds(process, links):
            with suppress(OSError):
                name = (process / "comm").read_text(errors="replace").strip()
                return f"{printable(name)} (pid {process.name})"
    return "another program"


def _listening_inodes(port: int) -> Iterator[str]:
    suffix = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[_STATE] == _LISTEN and columns[_LOCAL].endswith(suffix):
                    yield columns[_INODE]


def _holds(process: Path, links: set[str]) -> bool:
    with suppress(OSError):  # this user may not see the process, or it has ended
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in links:
                    return True
    return False
