"""An SSH server's version line and its SSH_MSG_DISCONNECT in clear, for clients that get no key exchange.

Stock `ssh` and PuTTY print the reason; Dropbear says that it was disconnected.
"""

from __future__ import annotations

from typing import Final

TOO_MANY_CONNECTIONS: Final = 12
SERVICE_NOT_AVAILABLE: Final = 7

_VERSION: Final = b"SSH-2.0-Ferry\r\n"
_MESSAGE: Final = b"\x01"  # SSH_MSG_DISCONNECT
_BLOCK: Final = 8
_LEAST_PADDING: Final = 4


def ssh_disconnect(reason: str, code: int) -> bytes:
    """The version line (RFC 4253 §4.2) and the disconnect with `reason`; `code` is one of RFC 4253 §11.1."""
    payload = _MESSAGE + code.to_bytes(4, "big") + _string(reason.encode()) + _string(b"")
    padding = _BLOCK - (5 + len(payload)) % _BLOCK  # RFC 4253 §6
    if padding < _LEAST_PADDING:
        padding += _BLOCK
    size = 1 + len(payload) + padding
    return _VERSION + size.to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def _string(data: bytes) -> bytes:
    """RFC 4251 §5."""
    return len(data).to_bytes(4, "big") + data
