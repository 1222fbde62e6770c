"""Ends by RST: SO_LINGER with no time makes `close` send one, and drop what was not sent (socket(7))."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any


def reset_at_close(sock: Any) -> None:
    """From now on the end of `sock`, a socket or what a transport gives as such, is a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(writer: asyncio.StreamWriter) -> None:
    """Close by RST."""
    reset_at_close(writer.get_extra_info("socket"))
    writer.transport.abort()
