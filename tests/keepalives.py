"""Keepalives that a test answers by hand."""

from __future__ import annotations

import asyncio


class Keepalives:
    """The keepalives of one connection, oldest first."""

    def __init__(self) -> None:
        self.sent: list[asyncio.Future[None]] = []

    def ping(self) -> asyncio.Future[None]:
        """As a connection sends one."""
        self.sent.append(asyncio.get_running_loop().create_future())
        return self.sent[-1]

    def answer(self) -> None:
        """Answer those that are not answered yet."""
        for ping in self.sent:
            if not ping.done():
                ping.set_result(None)
