"""uvicorn inside our own loop, for the control socket and the admin addresses. Never the public edge.

Signals and logging are the gateway's: uvicorn is kept from both. The API is loaded at its first request: FastAPI and
its models take 15 MB and a fifth of a second, which a gateway that nobody asks can do without.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ferry import limits
from ferry.names import Endpoint
from ferry.tasks import spawn

from .rebinding import LoopbackHost
from .sockets import CONTROL_SOCKET, bind_control, bind_loopback, unlink_control
from .state import ConsoleState
from .watching import create_admin_app


class _Server(uvicorn.Server):
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
        self.up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the default header fields
        self.up.set()
        await self._stop.wait()

    def stop(self) -> None:
        """Let `serve` end: no new connections, answers in flight get `limits.CONSOLE_CLOSE_SECONDS`."""
        self._stop.set()


class _LaterApp:
    """The whole API, made when it is first asked. The import runs in a thread, so that visitors do not wait for it."""

    def __init__(self, state: ConsoleState) -> None:
        self._state = state
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None:
            module = await asyncio.to_thread(importlib.import_module, "ferry.console.app")
            self._app = module.create_app(self._state)
        await self._app(scope, receive, send)


@asynccontextmanager
async def serving(state: ConsoleState, folder: Path, admin: list[Endpoint]) -> AsyncIterator[list[Endpoint]]:
    """Serve the API on `<folder>/control.sock`, and `/metrics` and `/health` on the `admin` addresses.

    Yields the addresses as bound (port 0 has become a number). Raises StartupError. On leaving, followers of events
    are told to stop (`EventRing.close`) and the socket's file is removed.
    """
    async with AsyncExitStack() as stack:
        control = bind_control(folder)
        stack.callback(control.close)
        stack.callback(unlink_control, folder, (folder / CONTROL_SOCKET).stat())
        listeners: list[socket.socket] = []
        for endpoint in admin:
            listeners.append(bind_loopback(endpoint))
            stack.callback(listeners[-1].close)
        bound = [Endpoint(*listener.getsockname()[:2]) for listener in listeners]
        await stack.enter_async_context(_run("control socket", _LaterApp(state), [control]))
        if listeners:
            app = LoopbackHost(create_admin_app(state))
            await stack.enter_async_context(_run("admin addresses", app, listeners))
        stack.callback(state.events.close)
        yield bound


@asynccontextmanager
async def _run(name: str, app: ASGIApp, listeners: list[socket.socket]) -> AsyncIterator[None]:
    server = _Server(app)
    task = spawn(name, server.serve(sockets=listeners))
    up = spawn(f"{name} starts", server.up.wait())
    await asyncio.wait((task, up), return_when=asyncio.FIRST_COMPLETED)
    try:
        if task.done():
            task.result()
        yield
    finally:
        up.cancel()
        server.stop()
        await task
