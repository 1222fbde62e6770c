"""A security key (FIDO) without hardware, and the agent that signs with it for stock ssh."""

from __future__ import annotations

import base64
import hashlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asyncssh.packet import Byte, SSHPacket, String, UInt32
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHM = b"sk-ssh-ed25519@openssh.com"
APPLICATION = b"ssh:"
REQUEST_IDENTITIES, IDENTITIES, SIGN_REQUEST, SIGN_RESPONSE, FAILURE = 11, 12, 13, 14, 5  # draft-miller-ssh-agent §5


class SecurityKey:
    """It signs with the `flags` that a test sets: 1 touched, 4 verified (PROTOCOL.u2f of OpenSSH)."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.blob = String(ALGORITHM) + String(public) + String(APPLICATION)
        self.flags = 1

    @property
    def line(self) -> str:
        """Its public half, as in a key file."""
        return f"{ALGORITHM.decode()} {base64.b64encode(self.blob).decode()}"

    def sign(self, data: bytes) -> bytes:
        """A signature in SSH's form."""
        rest = Byte(self.flags) + UInt32(7)
        signed = hashlib.sha256(APPLICATION).digest() + rest + hashlib.sha256(data).digest()
        return String(ALGORITHM) + String(self._private.sign(signed)) + rest


@contextmanager
def agent_of(key: SecurityKey, path: Path) -> Iterator[Path]:
    """An agent that holds the key, at a socket."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while asked := _received(self.request):
                answer = _answer(key, asked)
                self.request.sendall(String(answer))

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


def _received(connection: socket.socket) -> bytes:
    """One message; empty at the end."""
    file: Any = connection.makefile("rb")
    with file:
        return bytes(file.read(int.from_bytes(file.read(4), "big")))


def _answer(key: SecurityKey, asked: bytes) -> bytes:
    packet = SSHPacket(asked)
    kind = packet.get_byte()
    if kind == REQUEST_IDENTITIES:
        return Byte(IDENTITIES) + UInt32(1) + String(key.blob) + String(b"test")
    if kind == SIGN_REQUEST and packet.get_string() == key.blob:
        return Byte(SIGN_RESPONSE) + String(key.sign(packet.get_string()))
    return Byte(FAILURE)
