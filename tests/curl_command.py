"""Runs curl as a visitor, without the user's configuration."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE

from ferry_command import clean_environment

SECONDS = 20


async def curl(*arguments: str) -> str:
    """The output of curl, one character per octet. Raises AssertionError with its error message."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-q", "-sS", "--max-time", str(SECONDS), *arguments),
        stdout=PIPE,
        stderr=PIPE,
        env=clean_environment(),
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode("latin-1")
