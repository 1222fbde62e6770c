"""uvicorn inside our own loop. Signals and logging are the gateway's: uvicorn is kept from both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from ferry import limits


class WebServer(uvicorn.Server):
    """One that leaves signals alone and waits for `stop` without polling ten times a second."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=limits.CONSOLE_CLOSE_SECONDS,
            )
        )
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the default header fields
        await self._stop.wait()

    def stop(self) -> None:
        """Let `serve` end: no new connections, answers in flight get `limits.CONSOLE_CLOSE_SECONDS`."""
        self._stop.set()
