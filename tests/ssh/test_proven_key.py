"""Identity is bound to the key that has signed, whatever keys were asked about before (the CVE-2024-45337 trap)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gateway_process import Gateway
from ssh.asking_client import logged_in
from ssh_command import fingerprint


async def whoami(gateway: Gateway, *, ask: list[Path], sign: Path, between: Path | None = None) -> dict[str, object]:
    """What the gateway says to a client that has logged in as in `logged_in`."""
    async with logged_in(gateway, ask=ask, sign=sign, between=between) as connection:
        done = await connection.run("whoami --output json")
        found: dict[str, object] = json.loads(str(done.stdout))
        return found


async def test_the_key_that_signed_is_the_identity(gateway: Gateway, key: Path) -> None:
    assert (await whoami(gateway, ask=[], sign=key))["key"] == fingerprint(key)


async def test_a_key_without_a_signature_is_not_the_identity(gateway: Gateway, new_key: Callable[[], Path]) -> None:
    victim, own = new_key(), new_key()
    assert (await whoami(gateway, ask=[], sign=own, between=victim))["key"] == fingerprint(own)


async def test_a_key_with_a_wrong_signature_is_not_the_identity(gateway: Gateway, new_key: Callable[[], Path]) -> None:
    """The public half of one key with the private half of another."""
    victim, own = new_key(), new_key()
    (forged,) = asyncssh.load_keypairs([str(own)])
    forged.public_data = asyncssh.read_public_key(str(victim.with_suffix(".pub"))).public_data
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", gateway.ports.ssh, username="dev", client_keys=[forged], known_hosts=None, config=None,
            agent_path=None, kbdint_auth=False,
        )  # fmt: skip


async def test_a_listed_key_lets_in_only_its_holder(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path]
) -> None:
    known, stranger = new_key(), new_key()
    gateway = start_gateway(access={"mode": "keys", "keys": [known.with_suffix(".pub")]})
    with pytest.raises(asyncssh.PermissionDenied):
        await whoami(gateway, ask=[], sign=stranger)
    with pytest.raises(asyncssh.PermissionDenied):
        await whoami(gateway, ask=[], sign=stranger, between=known)
    assert (await whoami(gateway, ask=[stranger], sign=known))["key"] == fingerprint(known)


async def logs_in(gateway: Gateway, folder: Path, *, bits: int, **options: Any) -> bool:
    """Whether a new RSA key lets its holder in."""
    asyncssh.generate_private_key("ssh-rsa", key_size=bits).write_private_key(str(folder / "rsa"))
    options |= {"known_hosts": None, "config": None, "agent_path": None, "kbdint_auth": False}
    try:
        connection = await asyncssh.connect(
            "127.0.0.1", gateway.ports.ssh, username="dev", client_keys=[str(folder / "rsa")], **options
        )
    except asyncssh.PermissionDenied:
        return False
    connection.abort()
    return True


@pytest.mark.parametrize(("bits", "let_in"), [(1024, False), (2048, True)])
async def test_a_weak_rsa_key_does_not_log_in(gateway: Gateway, tmp_path: Path, *, bits: int, let_in: bool) -> None:
    assert await logs_in(gateway, tmp_path, bits=bits) == let_in


@pytest.mark.parametrize(("algorithm", "let_in"), [("rsa-sha2-256", True), ("rsa-sha2-512", True), ("ssh-rsa", False)])
async def test_a_signature_over_sha1_does_not_log_in(
    gateway: Gateway, tmp_path: Path, *, algorithm: str, let_in: bool
) -> None:
    """`ssh-rsa` is the name of the key, and of its signature over SHA-1, which the gateway does not offer (RFC 8332)."""
    assert await logs_in(gateway, tmp_path, bits=2048, signature_algs=[algorithm]) == let_in
