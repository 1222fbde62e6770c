"""A client with one forward, inside a gateway in the test's own process, and sessions of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asyncssh.packet import String, UInt32

from ferry.clock import Clock
from ferry.names import Endpoint
from ferry.visits import Visit
from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient
from raw_session import Session, open_session


def pty_request(term: str = "xterm", columns: int = 80) -> tuple[bytes, ...]:
    """The parts of a `pty-req` (RFC 4254 §6.2)."""
    return String(term), *map(UInt32, (columns, 24, 0, 0)), String(b"\x00")


class Stage:
    """A client with the forward `blog`, and sessions of it."""

    def __init__(self, inside: Inside, client: RawClient) -> None:
        self.inside, self.client = inside, client
        self._number = 5000

    async def session(
        self, words: bytes | None = b"", *, terminal: bool | tuple[bytes, ...] = False, window: int = 2**31 - 1
    ) -> Session:
        """A session that has said its words (None: says nothing yet), and shown what there is. `terminal`: the parts of
        its request for one; True: a request that says nothing."""
        self._number += 1
        session = await open_session(self.client, self._number, window)
        assert session is not None
        if terminal:
            assert await session.ask(b"pty-req", *(terminal if isinstance(terminal, tuple) else ()))
        if words is not None:
            assert await session.ask(b"exec", String(words)) if words else await session.ask(b"shell")
            await self.settle()
        return session

    async def settle(self) -> None:
        """Until what was shown has arrived."""
        for _ in range(2):
            assert await self.client.lives()

    def served(self, status: int = 200, note: str = "", method: str = "GET", target: str = "/x") -> Visit:
        """A visit of the first tunnel."""
        tunnel = self.inside.tunnels[0]
        return Visit(
            tunnel.id, tunnel.shown_address, tunnel.kind, Endpoint("192.0.2.7", 4711), method, target, status, 0.005,
            1_200, 3_400_000_000_000, note,
        )  # fmt: skip

    async def visit(self, status: int = 200, note: str = "", method: str = "GET", target: str = "/x") -> None:
        """Somebody was served."""
        self.inside.tunnels[0].traffic.visits += 1
        self.inside.tunnels[0].visited(self.served(status, note, method, target))
        await self.settle()


@asynccontextmanager
async def staged(key: Path, clock: Clock | None = None) -> AsyncIterator[Stage]:
    """The client, with its forward."""
    async with (
        asyncio.timeout(SECONDS),
        inside_gateway(clock=clock) as inside,
        inside.client(key) as client,
    ):
        made = Stage(inside, client)
        inside.change(request_log=True)
        assert await client.forward(b"blog", 80)
        yield made


def lines(session: Session) -> list[bytes]:
    """What was said since this was asked last."""
    said, session.said = session.said, b""
    return said.splitlines()


def objects(session: Session) -> list[dict[str, object]]:
    """The same, of a session with JSON."""
    return [json.loads(line) for line in lines(session)]
