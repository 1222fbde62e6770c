"""One session channel of a `RawClient`, packet by packet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from asyncssh.constants import (
    EXTENDED_DATA_STDERR,
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
)
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from raw_client import SECONDS, RawClient


class Session:
    """Its number at our end is above those that asyncssh gives."""

    def __init__(self, client: RawClient, number: int, mine: int) -> None:
        self.client = client
        self.number = number
        self.mine = mine
        self.answers: asyncio.Queue[bool] = asyncio.Queue()
        self.said = b""
        """On stdout and stderr, as a terminal shows both."""
        self.complained = b""
        """On stderr."""
        self.closed = False
        self.window = 0
        """What the gateway takes of us before it grants more, in bytes."""
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        client.connection._channels[mine] = self

    def process_packet(self, message: int, _sequence: int, packet: SSHPacket) -> bool:
        if message in (MSG_CHANNEL_SUCCESS, MSG_CHANNEL_FAILURE):
            self.answers.put_nowait(message == MSG_CHANNEL_SUCCESS)
        elif message == MSG_CHANNEL_DATA:
            self.said += packet.get_string()
        elif message == MSG_CHANNEL_EXTENDED_DATA:
            assert packet.get_uint32() == EXTENDED_DATA_STDERR
            text = packet.get_string()
            self.said += text
            self.complained += text
        elif message == MSG_CHANNEL_REQUEST and packet.get_string() == b"exit-status":
            packet.get_boolean()
            self.status.set_result(packet.get_uint32())
        elif message == MSG_CHANNEL_CLOSE:
            self.closed = True
            if not self.status.done():
                self.status.set_result(-1)
        return True

    def log_received_packet(self, *_: object) -> None:
        """Nothing to trace."""

    def process_connection_close(self, _error: Exception | None) -> None:
        if not self.status.done():
            self.status.set_result(-1)

    def send(self, message: int, *parts: bytes) -> None:
        self.client.send(message, UInt32(self.number), *parts)

    def request(self, kind: bytes, *parts: bytes, reply: bool = True) -> None:
        self.send(MSG_CHANNEL_REQUEST, String(kind), Boolean(reply), *parts)

    async def ask(self, kind: bytes, *parts: bytes) -> bool:
        self.request(kind, *parts)
        async with asyncio.timeout(SECONDS):
            return await self.answers.get()

    async def ended(self) -> int:
        """Its exit status; -1: closed without one."""
        async with asyncio.timeout(SECONDS):
            return await self.status


async def open_session(
    client: RawClient,
    mine: int = 5000,
    window: int = 2**31 - 1,
    packet: int = 32768,
    refused: Callable[[SSHPacket], None] = lambda _packet: None,
) -> Session | None:
    """None: refused, and `refused` has been given the answer."""
    opened: asyncio.Future[tuple[int, int] | None] = asyncio.get_running_loop().create_future()

    def confirmed(packet: SSHPacket) -> None:
        packet.get_uint32()
        opened.set_result((packet.get_uint32(), packet.get_uint32()))

    client.on(MSG_CHANNEL_OPEN_CONFIRMATION, confirmed)

    def failed(packet: SSHPacket) -> None:
        refused(packet)
        opened.set_result(None)

    client.on(MSG_CHANNEL_OPEN_FAILURE, failed)
    client.send(MSG_CHANNEL_OPEN, String(b"session"), UInt32(mine), UInt32(window), UInt32(packet))
    async with asyncio.timeout(SECONDS):
        confirmation = await opened
    if confirmation is None:
        return None
    number, granted = confirmation
    session = Session(client, number, mine)
    session.window = granted
    return session
