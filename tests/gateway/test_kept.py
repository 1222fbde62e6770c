"""The state folder: one gateway at a time, and its memory of host keys."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.errors import InvalidInput, StartupError
from ferry.gateway.kept import kept_in
from ferry.gateway.stopped import forget_host_key
from ferry.report import no_report
from ferry.ssh.host_keys import describe
from rsa_host_key import put_rsa_key


async def start_in(state: Path) -> list[str]:
    """What it says of its host keys."""
    put_rsa_key(state)
    async with kept_in(state, clock=SystemClock(), report=no_report) as kept:
        return [describe(key) for key in kept.host_keys]


async def test_two_gateways_do_not_share_a_state_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    put_rsa_key(state)
    async with kept_in(state, clock=SystemClock(), report=no_report):
        with pytest.raises(
            StartupError, match=r"another gateway runs with the state folder .*: stop it, or name another"
        ):
            await start_in(state)
        with pytest.raises(StartupError, match="another gateway runs"):
            await forget_host_key(state, "ssh-ed25519")


@pytest.mark.parametrize(("make", "why"), [(os.mkdir, "Is a directory"), (os.mkfifo, "it is not a file")])
async def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    state = tmp_path / "state"
    put_rsa_key(state)
    make(state / "lock")
    with pytest.raises(StartupError, match=f"state/lock cannot be made: {why}"):
        await start_in(state)


async def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    put_rsa_key(state)
    (state / "lock").symlink_to(elsewhere)
    with pytest.raises(StartupError, match="state/lock is a symbolic link: delete it"):
        await start_in(state)
    assert not elsewhere.exists()


async def test_a_host_key_is_forgotten_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    shown = await start_in(state)
    fingerprint = await forget_host_key(state, "ssh-ed25519")
    assert any(fingerprint in line for line in shown)
    for algorithm in ("ssh-ed25519", "ssh-dss"):
        with pytest.raises(
            InvalidInput, match=f"no {algorithm} key is remembered in .*: it is ssh-ed25519, ssh-rsa or ecdsa"
        ):
            await forget_host_key(state, algorithm)


async def test_forgetting_a_host_key_without_a_gateway_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no gateway's state: name the right folder with --state"):
        await forget_host_key(tmp_path, "ssh-ed25519")
    assert list(tmp_path.iterdir()) == []
