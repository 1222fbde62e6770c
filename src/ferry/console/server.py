"""Serves the control socket and the admin addresses, never the public edge.

The server code is imported at the first connection. It takes 4 MB for the admin addresses (uvicorn, Starlette), 12 MB for
the whole API (FastAPI and its models), and a quarter of a second. A gateway without such connections saves them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ferry import limits
from ferry.errors import StartupError
from ferry.names import Endpoint
from ferry.tasks import spawn

from .sockets import CONTROL_SOCKET, NotNow, bind_control, bind_loopback, unlink_control
from .state import ConsoleState

if TYPE_CHECKING:
    from .web import WebServer


_log = logging.getLogger("ferry.console")


@asynccontextmanager
async def serving(state: ConsoleState, folder: Path, admin: list[Endpoint]) -> AsyncIterator[list[Endpoint]]:
    """Serve the API on `<folder>/control.sock`, and `/metrics` and `/health` on the `admin` addresses.

    Yields the bound addresses (port 0 has become a number). Raises StartupError. At the end, those who follow events or
    the audit log are told so, and the socket's file is removed. On a disk that takes no new file the socket is made later.
    """
    async with AsyncExitStack() as stack:
        listeners: list[socket.socket] = []
        for endpoint in admin:
            listeners.append(bind_loopback(endpoint))
            stack.callback(listeners[-1].close)
        bound = [Endpoint(*listener.getsockname()[:2]) for listener in listeners]
        try:
            control = bind_control(folder)
        except NotNow as error:
            _log.error("%s: until it can be, `ferry status` and its like find no gateway", error)
            await stack.enter_async_context(_in_background(_control_later(state, folder)))
        else:
            await stack.enter_async_context(_control(state, folder, control))
        if listeners:
            await stack.enter_async_context(_served("admin addresses", listeners, lambda: _two_pages(state)))
        stack.callback(state.events.close)
        stack.callback(state.audit.end_followers)
        yield bound


@asynccontextmanager
async def _control(state: ConsoleState, folder: Path, control: socket.socket) -> AsyncIterator[None]:
    with control:
        made = (folder / CONTROL_SOCKET).stat()
        try:
            async with _served("control socket", [control], lambda: _whole_api(state)):
                yield
        finally:
            unlink_control(folder, made)


async def _control_later(state: ConsoleState, folder: Path) -> None:
    """Try until the socket is made, then serve it until cancelled."""
    while True:
        await asyncio.sleep(limits.CONTROL_RETRY_SECONDS)
        with suppress(StartupError):
            async with _control(state, folder, bind_control(folder)):
                await asyncio.Event().wait()


@asynccontextmanager
async def _in_background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = spawn("control socket", work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


def _whole_api(state: ConsoleState) -> WebServer:
    from .app import create_app
    from .web import WebServer

    return WebServer(create_app(state), state.clock)


def _two_pages(state: ConsoleState) -> WebServer:
    from .rebinding import LoopbackHost
    from .watching import create_admin_app
    from .web import WebServer

    return WebServer(LoopbackHost(create_admin_app(state)), state.clock)


@asynccontextmanager
async def _served(name: str, listeners: list[socket.socket], make: Callable[[], WebServer]) -> AsyncIterator[None]:
    """Serve with the server from `make`, which is called at the first connection. That one waits in the kernel meanwhile."""
    for listener in listeners:
        listener.listen()
        listener.setblocking(False)
    server: WebServer | None = None

    async def serve() -> None:
        nonlocal server
        while server is None:
            await _connection(listeners)
            try:
                server = await asyncio.to_thread(make)  # visitors of tunnels do not wait for the imports
            except Exception:  # no descriptor is left, or the files were replaced by another version's
                _log.exception("the API of the %s cannot be loaded", name)
                _turn_away(listeners)
        await server.serve(sockets=listeners)

    task = spawn(name, serve())
    try:
        yield
    finally:
        if server is None:
            task.cancel()
        else:
            server.stop()
        await asyncio.wait((task,))


async def _connection(listeners: list[socket.socket]) -> None:
    """Wait for a connection to one of them."""
    loop, somebody = asyncio.get_running_loop(), asyncio.Event()
    for listener in listeners:
        loop.add_reader(listener, somebody.set)
    try:
        await somebody.wait()
    finally:
        for listener in listeners:
            loop.remove_reader(listener)


def _turn_away(listeners: list[socket.socket]) -> None:
    """Close the waiting connections, so that they fail at once. The next connection tries again."""
    for listener in listeners:
        with suppress(OSError):  # no connection waits, or no descriptor is left to accept it
            while True:
                listener.accept()[0].close()
