"""A client may send the first message of a key exchange before it knows whether both take the same one (RFC 4253 §7)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from asyncssh.constants import MSG_KEX_FIRST, MSG_KEXINIT
from asyncssh.packet import String

from inside_gateway import SECONDS, inside_gateway
from raw_client import RawClient

NOT_OURS = "ecdh-sha2-nistp256"


def exchange_keys(client: RawClient) -> None:
    """With a guess behind it that is wrong: the first algorithm of the client's list is not one of the gateway's."""
    connection: Any = client.connection
    send = connection.send_packet

    def guessing(message: int, *parts: bytes, **named: Any) -> None:
        if message == MSG_KEXINIT:
            (offer,) = parts
            offer = offer[:-5] + b"\1" + offer[-4:]  # first_kex_packet_follows
            connection._client_kexinit = bytes([message]) + offer
            send(message, offer)
            send(MSG_KEX_FIRST + 10, String(b"a key for an exchange that will not be"))
        else:
            send(message, *parts, **named)

    connection.send_packet = guessing
    connection._send_kexinit()
    connection._kexinit_sent = True
    connection.send_packet = send


async def test_a_wrong_key_exchange_guess_is_ignored_once(key: Path) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway() as gateway,
        gateway.client(key, kex_algs=[NOT_OURS, "curve25519-sha256"]) as client,
    ):
        for _ in range(2):
            exchange_keys(client)
            assert await client.lives()
            assert client.connection._kex_complete
