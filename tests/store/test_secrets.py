"""Secrets are made once and stay."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ferry.names import Fingerprint
from ferry.report import no_report
from ferry.store.engine import Store
from ferry.store.secrets import SecretStore


async def test_a_secret_is_made_once_and_survives(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        made = await asyncio.gather(*(SecretStore(store).secret("names") for _ in range(20)))
        assert len(set(made)) == 1
        assert len(made[0]) == 32
        assert await SecretStore(store).secret("other") != made[0]
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        assert await SecretStore(store).secret("names") == made[0]


async def test_host_keys_are_remembered_per_algorithm(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "ferry.db", report=no_report) as store:
        secrets = SecretStore(store)
        assert await secrets.host_key_fingerprint("ssh-ed25519") is None
        await secrets.remember_host_key("ssh-ed25519", Fingerprint("SHA256:one"))
        await secrets.remember_host_key("ssh-rsa", Fingerprint("SHA256:two"))
        await secrets.remember_host_key("ssh-ed25519", Fingerprint("SHA256:three"))
        assert await secrets.host_key_fingerprint("ssh-ed25519") == "SHA256:three"
        assert await secrets.host_key_fingerprint("ssh-rsa") == "SHA256:two"
        await secrets.forget_host_key("ssh-ed25519")
        assert await secrets.host_key_fingerprint("ssh-ed25519") is None
        assert await secrets.host_key_fingerprint("ssh-rsa") == "SHA256:two"
