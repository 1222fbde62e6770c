"""What waits in the kernel's send queue of a connection (tcp(7))."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
from typing import Final

_SIOCOUTQNSD: Final = 0x894B  # linux/sockios.h, tcp(7): unsent bytes in the send queue


def unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the peer's system has not acknowledged, in our buffer and in the kernel's (tcp(7) SIOCOUTQ).

    Our buffer alone is no measure: the kernel takes more only when a third of its own has gone, which takes a slow peer
    seconds.
    """
    return transport.get_write_buffer_size() + _queued(transport, termios.TIOCOUTQ)


def not_sent(transport: asyncio.Transport) -> int:
    """Bytes in the kernel's queue that it has not sent yet."""
    return _queued(transport, _SIOCOUTQNSD)


def _queued(transport: asyncio.Transport, request: int) -> int:
    sock = transport.get_extra_info("socket")
    if sock is None:  # TLS over a connection that is gone
        return 0
    if sock.family == socket.AF_UNIX:
        request = termios.TIOCOUTQ  # it knows no other, and what is sent has arrived
    return int.from_bytes(fcntl.ioctl(sock.fileno(), request, bytes(4)), sys.byteorder)
