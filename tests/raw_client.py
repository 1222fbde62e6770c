"""An SSH client for misbehaviour: asyncssh's client, whose packets the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_GLOBAL_REQUEST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
)
from asyncssh.packet import Boolean, String, UInt32

from gateway_process import Gateway

SECONDS = 10


class _Channels(dict[int, Any]):
    """asyncssh's table of channels. It keeps messages for unknown numbers for the test."""

    def __init__(self, client: RawClient) -> None:
        super().__init__()
        self._client = client

    def __missing__(self, number: int) -> Any:
        return _UnknownChannel(self._client, number)


class _UnknownChannel:
    def __init__(self, client: RawClient, number: int) -> None:
        self._client = client
        self._number = number

    def process_packet(self, message: int, _sequence: int, _packet: Any) -> bool:
        if message == MSG_CHANNEL_CLOSE:
            self._client.closed.put_nowait(self._number)
        return True

    def log_received_packet(self, *_: object) -> None:
        """Nothing to trace."""


class RawClient:
    """One logged-in connection."""

    def __init__(self, connection: Any, ended: list[str]) -> None:
        self.connection = connection
        self._ended = ended
        self.answers: asyncio.Queue[tuple[bool, bytes]] = asyncio.Queue()
        """Answers to global requests, in order: whether it succeeded, and the payload."""
        self.opens: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        """`forwarded-tcpip` opens, which this client leaves unanswered: the channel number and the rest."""
        self.closed: asyncio.Queue[int] = asyncio.Queue()
        """Our numbers of channels, unknown to asyncssh, for which a close came."""
        connection._channels = _Channels(self)
        self.on(MSG_REQUEST_SUCCESS, lambda packet: self.answers.put_nowait((True, packet.get_remaining_payload())))
        self.on(MSG_REQUEST_FAILURE, lambda _packet: self.answers.put_nowait((False, b"")))

    def on(self, message: int, handler: Callable[[Any], object]) -> None:
        """Handle a kind of message in place of asyncssh."""

        def handle(_connection: Any, _kind: int, _number: int, packet: Any) -> None:
            handler(packet)

        self.connection._packet_handlers = {**self.connection._packet_handlers, message: handle}

    def hold_opens(self) -> None:
        """Answer no more channel opens."""

        def opened(packet: Any) -> None:
            packet.get_string()
            self.opens.put_nowait((packet.get_uint32(), packet.get_remaining_payload()))

        self.on(MSG_CHANNEL_OPEN, opened)

    def accept_opens(self) -> None:
        """Confirm each channel open, with a number of our own that asyncssh does not know."""

        def opened(packet: Any) -> None:
            packet.get_string()
            theirs = packet.get_uint32()
            ours, window, largest = UInt32(10_000 + theirs), UInt32(2**20), UInt32(2**15)
            self.send(MSG_CHANNEL_OPEN_CONFIRMATION, UInt32(theirs), ours, window, largest)

        self.on(MSG_CHANNEL_OPEN, opened)

    def send(self, message: int, *parts: bytes) -> None:
        """Send one packet of any content."""
        self.connection.send_packet(message, *parts)

    def at_once(self, *packets: tuple[int, bytes]) -> None:
        """Send several packets in one write, so that the gateway reads them together."""
        written: list[bytes] = []
        self.connection._send = written.append
        for message, payload in packets:
            self.send(message, payload)
        del self.connection._send
        self.connection._send(b"".join(written))

    async def ask(self, kind: bytes, *parts: bytes) -> tuple[bool, bytes]:
        """Send a global request. Returns its answer."""
        self.send(MSG_GLOBAL_REQUEST, String(kind), Boolean(True), *parts)
        async with asyncio.timeout(SECONDS):
            return await self.answers.get()

    async def forward(self, host: bytes, port: int) -> bool:
        """Request a forward. Returns whether it was granted."""
        return (await self.ask(b"tcpip-forward", String(host), UInt32(port)))[0]

    async def cancel(self, host: bytes, port: int) -> bool:
        return (await self.ask(b"cancel-tcpip-forward", String(host), UInt32(port)))[0]

    async def lives(self) -> bool:
        """Whether the gateway still answers on this connection."""
        return not (await self.ask(b"are-you-there@test"))[0]

    async def said_at_the_end(self) -> str:
        """The gateway's reason for the disconnect."""
        async with asyncio.timeout(SECONDS):
            await self.connection.wait_closed()
        return self._ended[0]


@asynccontextmanager
async def raw_client(gateway: Gateway, key: Path, **options: Any) -> AsyncIterator[RawClient]:
    """Log in with `key`."""

    class Client(asyncssh.SSHClient):
        def connection_lost(self, exc: Exception | None) -> None:
            reasons.append(str(exc or ""))

    reasons: list[str] = []
    connection = await asyncssh.connect(
        "127.0.0.1", gateway.ports.ssh, username="dev", client_keys=[str(key)], known_hosts=None, config=None,
        agent_path=None, client_factory=Client, **options,
    )  # fmt: skip
    client = RawClient(connection, reasons)
    try:
        yield client
    finally:
        connection.abort()
        await connection.wait_closed()
