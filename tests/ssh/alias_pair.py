"""A machine behind an alias and its visitor: two raw clients of one identity, whose messages the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.packet import SSHPacket, String, UInt32

from inside_gateway import SECONDS, Inside, inside_gateway
from raw_client import RawClient

NAME, PORT = b"laptop", 22
NAMES = {MSG_CHANNEL_DATA: "data", MSG_CHANNEL_EOF: "eof", MSG_CHANNEL_CLOSE: "close"}


@dataclass
class Side:
    """One channel, as the client at its end sees it."""

    client: RawClient
    ours: int
    theirs: int = -1
    credit: int = 0
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def process_packet(self, message: int, _sequence: int, packet: SSHPacket) -> bool:
        if message == MSG_CHANNEL_WINDOW_ADJUST:
            self.credit += packet.get_uint32()
        else:
            self.heard.append((NAMES[message], packet.get_string() if message == MSG_CHANNEL_DATA else b""))
        self.news.set()
        return True

    def log_received_packet(self, *_: object) -> None:
        """Nothing to trace."""

    def process_connection_close(self, _error: object) -> None:
        """Ignored."""

    @property
    def got(self) -> bytes:
        return b"".join(data for _, data in self.heard)

    @property
    def ends(self) -> list[str]:
        """The ends that were heard, in order."""
        return [what for what, _ in self.heard if what != "data"]

    def say(self, message: int, *parts: bytes) -> None:
        self.client.send(message, UInt32(self.theirs), *parts)

    def data(self, data: bytes) -> None:
        """Send it in packets, within the window."""
        assert len(data) <= self.credit
        self.credit -= len(data)
        for at in range(0, len(data), 32_768):
            self.say(MSG_CHANNEL_DATA, String(data[at : at + 32_768]))

    async def until(self, *ends: str, size: int = 0) -> None:
        """Wait for this many bytes and these ends."""
        async with asyncio.timeout(SECONDS):
            while self.ends != list(ends) or len(self.got) < size:
                self.news.clear()
                await self.news.wait()


class Pair:
    """The gateway and both clients."""

    def __init__(self, gateway: Inside, machine: RawClient, visitor: RawClient) -> None:
        self.gateway, self.machine, self.visitor = gateway, machine, visitor
        self.answers: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        """To the visitor's opens: what, and the packet."""
        self._next = 1000
        machine.hold_opens()
        visitor.on(MSG_CHANNEL_OPEN_CONFIRMATION, lambda packet: self.answers.put_nowait(("confirmed", packet)))
        visitor.on(MSG_CHANNEL_OPEN_FAILURE, lambda packet: self.answers.put_nowait(("failed", packet)))

    def number(self, client: RawClient) -> Side:
        self._next += 1
        side = Side(client, self._next)
        client.connection._channels[side.ours] = side
        return side

    async def ask(self, *, window: int = 2**20, packet: int = 32_768) -> tuple[Side, int, int]:
        """A visitor's open: its side, the number that the machine is asked with, and the window that it gets."""
        side = self.number(self.visitor)
        target = String(NAME), UInt32(PORT), String(b"127.0.0.1"), UInt32(4711)
        self.visitor.send(
            MSG_CHANNEL_OPEN, String(b"direct-tcpip"), UInt32(side.ours), UInt32(window), UInt32(packet), *target
        )
        async with asyncio.timeout(SECONDS):
            number, rest = await self.machine.opens.get()
        return side, number, int.from_bytes(rest[:4], "big")

    async def answer(self) -> tuple[str, Any]:
        """To the visitor's oldest open."""
        async with asyncio.timeout(SECONDS):
            return await self.answers.get()

    async def open(self, *, window: int = 2**20, machine_window: int = 2**20) -> tuple[Side, Side]:
        """A visitor that is through to the machine: its side and the machine's."""
        visitor, number, credit = await self.ask(window=window)
        machine = self.number(self.machine)
        machine.theirs, machine.credit = number, credit
        machine.say(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(machine.ours), UInt32(machine_window), UInt32(32_768))
        what, packet = await self.answer()
        assert what == "confirmed"
        assert packet.get_uint32() == visitor.ours
        visitor.theirs, visitor.credit = packet.get_uint32(), packet.get_uint32()
        return visitor, machine

    async def settle(self) -> None:
        """Wait until both sides have received all."""
        for client in (self.visitor, self.machine, self.visitor, self.machine):
            assert await client.lives()


@asynccontextmanager
async def alias_pair(key: Path) -> AsyncIterator[Pair]:
    """A gateway with a machine whose alias is open, and a visitor of it that has logged in."""
    async with inside_gateway() as gateway, gateway.client(key) as machine, gateway.client(key) as visitor:
        assert await machine.forward(NAME, PORT)
        await gateway.let_through()
        yield Pair(gateway, machine, visitor)
