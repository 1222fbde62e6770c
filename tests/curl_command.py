"""Runs curl as a visitor, with nothing of the user's own configuration."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE

from ferry_command import clean_environment

SECONDS = 20


async def curl(*arguments: str) -> str:
    """What it writes, an octet a character; AssertionError with its complaint where it fails."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-q", "-sS", "--max-time", str(SECONDS), *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env=clean_environment(),
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode("latin-1")
