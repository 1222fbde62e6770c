"""The listening sockets of this machine, as the kernel lists them (proc(5), /proc/net/tcp)."""

from __future__ import annotations

import socket
from pathlib import Path

_LISTENING = "0A"


def listening_on(port: int) -> frozenset[str]:
    """The numeric addresses on which a TCP port listens. `::` alone says nothing about IPv4."""
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            host, _, number = local.partition(":")
            if state == _LISTENING and int(number, 16) == port:
                words = (bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
                found.add(socket.inet_ntop(family, b"".join(words)))
    return frozenset(found)
