"""One key tried at sshd and at Ferry alike: what the server at a port allows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from sshd_program import own_user

Outcome = dict[str, bool] | None
"""None: the key may not log in. Else each request with whether it was granted."""


async def tried(
    server: int, key: asyncssh.SSHKey | asyncssh.SSHKeyPair, own: int, target: int, *, everywhere: bool
) -> Outcome:
    """What a key may do at the server on that port: None if it may not log in, else each request with its outcome. Only
    where options say where to listen it asks `everywhere`."""
    try:
        connection = await asyncssh.connect(
            "127.0.0.1", server, username=own_user(), client_keys=[key], known_hosts=None, config=None, agent_path=None,
            kbdint_auth=False, password_auth=False,
        )  # fmt: skip
    except asyncssh.PermissionDenied:
        return None
    async with connection:
        places = (("", own), ("127.0.0.1", own), ("::1", own), ("localhost", own + 1), ("localhost", 0))
        asked = places if everywhere else ()
        outcome = {f"-R {host}:{port}": await listens(connection, host, port, target) for host, port in asked}
        held = await listener_of(connection, "localhost", own, target)
        outcome["-R localhost"] = held is not None
        if held is not None:
            for host in ("localhost", "127.0.0.1", "LOCALHOST"):
                outcome[f"-W {host}"] = await opens(connection, host, own)
    return outcome


async def listener_of(connection: Any, host: str, port: int, target: int) -> Any:
    try:
        return await connection.forward_remote_port(host, port, "127.0.0.1", target)
    except asyncssh.ChannelListenError:
        return None


async def listens(connection: Any, host: str, port: int, target: int) -> bool:
    listener = await listener_of(connection, host, port, target)
    if listener is None:
        return False
    listener.close()
    await listener.wait_closed()
    return True


async def opens(connection: Any, host: str, port: int) -> bool:
    try:
        reader, writer = await connection.open_connection(host, port)
    except asyncssh.ChannelOpenError as refused:
        if refused.code != OPEN_ADMINISTRATIVELY_PROHIBITED:
            raise
        return False
    assert await reader.read() == b"hello"
    writer.close()
    return True


@asynccontextmanager
async def service() -> AsyncIterator[int]:
    """A local service that says hello."""

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
