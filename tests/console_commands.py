"""Runs a command of `ferry` in a thread, as its own small application, against a gateway in the test's loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from ferry.cli.options import wants_json
from ferry.console.server import serving
from ferry.errors import FerryError
from small_gateway import SmallGateway


@dataclass(frozen=True, slots=True)
class Result:
    """What a command printed. `error` is what `ferry` prints before it exits with 1 or 2."""

    code: int
    text: str
    """Also what it printed on stderr."""
    out: str
    error: FerryError | None

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


async def run(command: Callable[..., None], *arguments: str) -> Result:
    app = typer.Typer()
    app.command()(command)
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments), obj=wants_json(arguments))
    if result.exception is not None and not isinstance(result.exception, FerryError | SystemExit):
        raise result.exception
    error = result.exception if isinstance(result.exception, FerryError) else None
    return Result(result.exit_code, result.output, result.stdout, error)


@asynccontextmanager
async def running(folder: Path, gateway: SmallGateway | None = None) -> AsyncIterator[SmallGateway]:
    """A gateway whose state folder is `folder`."""
    gateway = gateway or SmallGateway()
    async with serving(gateway, folder, []):
        yield gateway
