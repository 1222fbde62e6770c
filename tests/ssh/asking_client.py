"""A client that asks about some keys, and then signs with another (RFC 4252 §7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.auth import MSG_USERAUTH_PK_OK
from asyncssh.constants import MSG_USERAUTH_REQUEST
from asyncssh.packet import Boolean, String

from gateway_process import Gateway


@asynccontextmanager
async def logged_in(
    gateway: Gateway, *, ask: list[Path], sign: Path, between: Path | None = None
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """Log in with the key `sign`, after those in `ask` were tried; between its question and its signature ask about
    `between`, without waiting for an answer."""

    class Client(asyncssh.SSHClient):
        def connection_made(self, conn: Any) -> None:
            self._connection = conn

        def public_key_auth_requested(self) -> Any:
            if not order:
                return None
            (pair,) = asyncssh.load_keypairs([str(order.pop(0))])
            if between is not None:
                public, signed = asyncssh.read_public_key(between.with_suffix(".pub")), pair.sign

                def asked_then_signed(data: bytes) -> bytes:
                    asked.append(between)
                    auth = (
                        self._connection._auth
                    )  # the answer is for another key than asyncssh is signing with: pass over it
                    auth._packet_handlers = {**auth._packet_handlers, MSG_USERAUTH_PK_OK: lambda *_: None}
                    self._connection.send_packet(
                        MSG_USERAUTH_REQUEST, String(b"dev"), String(b"ssh-connection"), String(b"publickey"),
                        Boolean(False), String(b"ssh-ed25519"), String(public.public_data),
                    )  # fmt: skip
                    return signed(data)

                vars(pair)["sign"] = asked_then_signed
            return pair

    order, asked = [*ask, sign], list[Path]()
    async with asyncssh.connect(
        "127.0.0.1",
        gateway.ports.ssh,
        username="dev",
        client_factory=Client,
        client_keys=None,  # those of `public_key_auth_requested` alone: by default asyncssh takes what is in ~/.ssh
        known_hosts=None,
        config=None,
        agent_path=None,
    ) as connection:
        assert asked == [between] * (between is not None)
        yield connection
