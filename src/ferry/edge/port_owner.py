"""Which program holds a TCP port of this host, as far as /proc lets this user see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ferry.names import printable

_LISTEN: Final = "0A"  # TCP_LISTEN in include/net/tcp_states.h
_LOCAL, _STATE, _INODE = 1, 3, 9  # columns of /proc/net/tcp, Documentation/networking/proc_net_tcp.rst


def port_owner(port: int) -> str:
    """`nginx (pid 812)`, or `another program` where it belongs to a user whose processes are hidden."""
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
    with suppress(OSError):  # hidden from this user, or gone meanwhile
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) in links:
                    return True
    return False
