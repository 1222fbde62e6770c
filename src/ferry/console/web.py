"""Runs uvicorn inside the gateway's loop. The gateway handles signals and logging itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ferry import limits
from ferry.clock import Clock


class WebServer(uvicorn.Server):
    """A server that does not handle signals and waits for `stop` without polling ten times a second."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_dated(clock),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,  # uvicorn writes it once in ten ticks of a loop that is not run here
                timeout_graceful_shutdown=limits.CONSOLE_CLOSE_SECONDS,
            )
        )
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self._stop.wait()

    def stop(self) -> None:
        """Let `serve` end: no new connections, answers in flight get `limits.CONSOLE_CLOSE_SECONDS`."""
        self._stop.set()


def _dated(clock: Clock) -> type[HttpToolsProtocol]:
    """A protocol whose answers all have a `Date` (RFC 9110 §6.6.1), including uvicorn's own 400."""

    class Dated(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            self.server_state.default_headers = [(b"date", formatdate(clock.now(), usegmt=True).encode())]
            super().data_received(data)

    return Dated
