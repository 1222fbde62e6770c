"""Checks whether a port is free, and finds the program that holds it. It reads /proc, as `ss -ltnp` does."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ferry.config.rules import shown
from ferry.names import Endpoint, printable

LISTEN_STATE: Final = "0A"  # TCP_LISTEN in /proc/net/tcp
BANNER_SECONDS: Final = 1.0  # sshd writes its banner as soon as it has accepted
BANNER_BYTES: Final = 255  # RFC 4253 §4.2: longest identification line


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket of this host."""

    endpoint: Endpoint
    inode: int


@dataclass(frozen=True, slots=True)
class Busy:
    """Why `endpoint` cannot be bound. `in_use`: another socket listens there."""

    endpoint: Endpoint
    reason: str
    in_use: bool = False
    absent: bool = False
    """The host has no such address."""


def blocked(endpoint: Endpoint) -> Busy | None:
    """Try to bind `endpoint`. None if that works; port 0 always does."""
    host = "0.0.0.0" if endpoint.host == "::" and not has_ipv6() else endpoint.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
            probe.bind((host, endpoint.port))
    except OSError as error:
        return _busy(endpoint, error)
    return None


def has_ipv6() -> bool:
    """Whether this host has IPv6. Without it `*` means IPv4 alone."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _busy(endpoint: Endpoint, error: OSError) -> Busy:
    match error.errno:
        case errno.EADDRINUSE:
            return Busy(endpoint, f"{shown(endpoint)} is held by {holder(endpoint.port)}", in_use=True)
        case errno.EACCES:
            reason = (
                f"{shown(endpoint)}: a port below 1024 needs root or CAP_NET_BIND_SERVICE; "
                "the service that `ferry install-service` writes has it"
            )
            return Busy(endpoint, reason)
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return Busy(endpoint, f"{endpoint.host} is not an address of this host", absent=True)
        case _:
            return Busy(endpoint, f"{shown(endpoint)}: {error.strerror}")


def listeners(proc: Path = Path("/proc")) -> Iterator[Listener]:
    """Every listening TCP socket of this host, IPv4 and IPv6."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN_STATE:
                host, _, port = fields[1].partition(":")
                yield Listener(Endpoint(_kernel_address(host), int(port, 16)), int(fields[9]))


def _kernel_address(text: str) -> str:
    """/proc/net/tcp prints each 32-bit word of an address in the host's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    return str(ipaddress.ip_address(struct.pack(f"={len(words)}I", *words)))


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """The program that listens on `port`: `nginx (pid 812)`, or the command that names it."""
    inodes = {f"socket:[{listener.inode}]" for listener in listeners(proc) if listener.endpoint.port == port}
    for process in proc.iterdir():
        if process.name.isdecimal() and not inodes.isdisjoint(_sockets(process)):
            with contextlib.suppress(OSError):  # it has ended since
                return f"{printable((process / 'comm').read_text().strip())} (pid {process.name})"
    return f"another user's process (`sudo ss -ltnp 'sport = :{port}'` names it)"


def _sockets(process: Path) -> Iterator[str]:
    """The targets of a process's descriptors; none if we may not read them or the process has ended."""
    with contextlib.suppress(OSError):
        for entry in (process / "fd").iterdir():
            with contextlib.suppress(OSError):  # closed since the listing, as the descriptor of the listing itself
                yield str(entry.readlink())


def ssh_banner(endpoint: Endpoint) -> str | None:
    """The SSH identification line of a server on this host. None if nothing listens or it is no SSH server."""
    try:
        with socket.create_connection((endpoint.host, endpoint.port), BANNER_SECONDS) as client:
            line = client.recv(BANNER_BYTES).split(b"\n", 1)[0].strip()
    except OSError:
        return None
    return printable(line.decode("ascii", "replace")) if line.startswith(b"SSH-") else None


def sshd_on(port: int) -> str | None:
    """The banner of the SSH server that holds `port` on this host, or None."""
    for listener in listeners():
        if listener.endpoint.port == port:
            host = listener.endpoint.host
            local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
            if banner := ssh_banner(Endpoint(local, port)):
                return banner
    return None
