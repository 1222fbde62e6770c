"""Runs uvicorn inside the gateway's loop. The gateway handles signals and logging itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
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
                http=_protocol(clock),
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


def _protocol(clock: Clock) -> type[HttpToolsProtocol]:
    """A protocol whose answers all have a `Date` (RFC 9110 §6.6.1), including uvicorn's own 400. Requests through a Unix
    socket have the user at its other end as their client."""

    class Dated(HttpToolsProtocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.client = self.client or _user_of(transport)  # a Unix socket has no address

        def data_received(self, data: bytes) -> None:
            self.server_state.default_headers = [(b"date", formatdate(clock.now(), usegmt=True).encode())]
            super().data_received(data)

    return Dated


def _user_of(transport: asyncio.Transport) -> tuple[str, int]:
    """The user, by number, and the process that have connected to a Unix socket (SO_PEERCRED, unix(7))."""
    with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as own:
        process, user, _ = struct.unpack("3i", own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"uid {user}", process
