"""All parts of a gateway, made and wired as `ferry serve` does, in the test's own process: what it opens it closes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from ferry.clock import Clock, SystemClock
from ferry.config.model import Config
from ferry.kept import kept_in
from ferry.observe.observer import observing
from ferry.parts import Parts, parts_of

LOOPBACK_FREE = "127.0.0.1:0"
NOWHERE_ELSE: dict[str, dict[str, Any]] = {
    "ssh": {"listen": LOOPBACK_FREE}, "http": {"listen": LOOPBACK_FREE}, "https": {"listen": []},
}  # fmt: skip


def config_of(folder: Path, **tables: dict[str, Any]) -> Config:
    """`tables` over free ports on 127.0.0.1 for SSH and HTTP."""
    return Config.model_validate({"state": folder / "state", **NOWHERE_ELSE, **tables})


def make_rsa_key(state: Path) -> None:
    """A small one: one of 3,072 bits takes longer than most tests."""
    state.mkdir(mode=0o700, exist_ok=True)
    if not (path := state / "ssh_host_rsa_key").exists():
        asyncssh.generate_private_key("ssh-rsa", key_size=1024).write_private_key(path)
        path.chmod(0o600)


@asynccontextmanager
async def whole_gateway(config: Config, *, clock: Clock | None = None) -> AsyncIterator[Parts]:
    """One that listens, with its log thrown away."""
    clock = clock or SystemClock()
    make_rsa_key(config.state)
    log = os.open(os.devnull, os.O_WRONLY)
    try:
        with observing(clock, version="0", fd=log) as observation:
            async with (
                kept_in(config.state, clock=clock, report=observation.report) as kept,
                parts_of(config, kept, clock=clock, observation=observation) as parts,
            ):
                try:
                    await parts.listening.use(config, parts.front)
                    parts.edge.start()
                    yield parts
                finally:
                    parts.listening.close()
                    parts.edge.close()
                    await parts.front.stop()
    finally:
        os.close(log)
