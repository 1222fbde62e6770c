"""The end of a visitor's connection by RST, which no visitor can take for the end of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 s, so that close() sends RST


def reset(transport: asyncio.Transport) -> None:
    """Close with RST. `transport.abort()` alone sends FIN, unless unread bytes happen to wait.

    Never call it after `connection_lost`: under uvloop the descriptor may belong to another connection by then. A
    closing TLS transport may be past that point already, unseen by us, so this function only aborts it.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and not (transport.is_closing() and transport.get_extra_info("sslcontext")):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
