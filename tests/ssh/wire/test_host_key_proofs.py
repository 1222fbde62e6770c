"""The proofs of host keys: for those that are announced, and a few for each connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
from asyncssh.packet import SSHPacket, String

from ferry.ssh.wire.host_key_proofs import PROVE, HostKeyProofs, ProofsOfConnection
from inside_gateway import SECONDS, inside_gateway
from rsa_host_key import put_rsa_key

HOST_KEYS_PROVED = 8
HOST_KEY_PROOFS = 4
SESSION = b"session"


def keys_in(folder: Path) -> tuple[asyncssh.SSHKey, asyncssh.SSHKey]:
    put_rsa_key(folder)
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.read_private_key(folder / "ssh_host_rsa_key")


def signed_by(key: asyncssh.SSHKey, proof: bytes) -> bool:
    return bool(key.convert_to_public().verify(String(PROVE) + String(SESSION) + String(key.public_data), proof))


def test_each_key_is_proved_in_its_turn_and_rsa_never_with_sha_1(tmp_path: Path) -> None:
    ed25519, rsa = keys_in(tmp_path)
    proofs = HostKeyProofs([ed25519, rsa])
    assert proofs.announced == String(ed25519.public_data) + String(rsa.public_data)
    for exchanged, algorithm in (
        (b"ssh-ed25519", b"rsa-sha2-512"),
        (b"rsa-sha2-256", b"rsa-sha2-256"),
        (b"rsa-sha2-512", b"rsa-sha2-512"),
        (b"ssh-rsa", b"rsa-sha2-512"),
    ):
        proved = proofs.prove([rsa.public_data, ed25519.public_data], SESSION, exchanged)
        assert proved is not None
        packet = SSHPacket(proved)
        first, second = packet.get_string(), packet.get_string()
        packet.check_end()
        assert SSHPacket(first).get_string() == algorithm
        assert signed_by(rsa, first)
        assert signed_by(ed25519, second)


def test_other_keys_are_not_proved(tmp_path: Path) -> None:
    own, _ = keys_in(tmp_path)
    other = asyncssh.generate_private_key("ssh-ed25519")
    proofs = HostKeyProofs([own])
    for wanted in ([], [b""], [other.public_data], [own.public_data, other.public_data], [own.public_data] * 2):
        assert proofs.prove(wanted, SESSION, b"") is None
    assert HostKeyProofs().announced == b""


async def test_a_connection_gets_a_few_proofs(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        public = client.connection.get_server_host_key().public_data
        proved = [(await client.ask(PROVE, String(public)))[0] for _ in range(HOST_KEY_PROOFS + 1)]
        assert proved == [True] * HOST_KEY_PROOFS + [False]


def test_a_request_gets_a_few_signatures() -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(HOST_KEYS_PROVED + 1)]
    proofs, wanted = HostKeyProofs(keys), [key.public_data for key in keys]
    assert ProofsOfConnection(proofs).prove(wanted[1:], SESSION, b"") is not None
    assert ProofsOfConnection(proofs).prove(wanted, SESSION, b"") is None


async def test_a_list_without_end_is_refused(key: Path) -> None:
    async with asyncio.timeout(SECONDS), inside_gateway() as gateway, gateway.client(key) as client:
        assert await client.ask(PROVE, *[String(b"k" * 50)] * 2000) == (False, b"")
