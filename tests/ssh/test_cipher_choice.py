"""The cipher of a client: AES-GCM if it knows it, else its own choice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ferry import limits
from inside_gateway import SECONDS, inside_gateway
from ssh.test_strict_kex import MSG_KEX_ECDH_REPLY, MSG_KEXINIT, ecdh_init, kexinit
from turns import until

GCM, LONG_GCM, CHACHA = "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"


@pytest.mark.parametrize(
    ("prefer", "listed", "chosen"),
    [
        (True, [CHACHA, "aes256-ctr", GCM], GCM),
        (True, [CHACHA, LONG_GCM], LONG_GCM),
        (True, ["aes256-ctr", CHACHA], "aes256-ctr"),
        (False, [CHACHA, GCM], CHACHA),
    ],
)
async def test_a_client_gets_the_cheap_cipher_unless_it_may_choose(
    key: Path, prefer: bool, listed: list[str], chosen: str
) -> None:
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(prefer_gcm=prefer) as gateway,
        gateway.client(key, encryption_algs=listed) as client,
    ):
        assert client.connection.get_extra_info("send_cipher") == chosen
        assert client.connection.get_extra_info("recv_cipher") == chosen
        assert await client.lives()


async def next_payload(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    rest = await reader.readexactly(int.from_bytes(head[:4], "big") - 1)
    return rest[: len(rest) - head[4]]


@pytest.mark.parametrize("prefer", [True, False])
async def test_a_client_that_waits_for_our_offer_gets_all_of_it_once(
    monkeypatch: pytest.MonkeyPatch, prefer: bool
) -> None:
    """RFC 4253 §7.1 lets both sides send without waiting; two offers in one key exchange would end it."""
    monkeypatch.setattr(limits, "KEXINIT_WAIT_SECONDS", 0.01 if prefer else 10 * SECONDS)
    async with asyncio.timeout(SECONDS), inside_gateway(prefer_gcm=prefer) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        writer.write(b"SSH-2.0-patient\r\n")
        assert (await reader.readline()).startswith(b"SSH-2.0-")
        offer = await next_payload(reader)
        assert offer[0] == MSG_KEXINIT
        assert all(cipher.encode() in offer for cipher in (GCM, CHACHA, "aes256-ctr"))
        writer.write(kexinit("curve25519-sha256") + ecdh_init())
        assert (await next_payload(reader))[0] == MSG_KEX_ECDH_REPLY
        writer.close()


async def test_a_client_that_leaves_before_our_offer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEXINIT_WAIT_SECONDS", 0.01)
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.ssh_port)
        writer.write(b"SSH-2.0-hasty\r\n")
        writer.close()
        await until(lambda: gateway.said("handshake.ended"))
        assert [ended["outcome"] for ended in gateway.said("handshake.ended")] == ["failed"]
