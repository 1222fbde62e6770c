"""Fakes of a visitor's transport and of a tunnel's stream. The test sends every event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from edge.http_rig import Rig, running_edge
from ferry.edge.http.connection import ConnectionPhase
from ferry.edge.http.h1 import H1Connection
from ferry.streams import Sink

VISITOR_HIGH_WATER_BYTES = 64 * 1024


class Transport:
    """The visitor's transport. It pauses its writer as asyncio does, at a write above the high-water mark."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.reads = True
        """Everything that is written goes at once."""
        self.waiting = 0
        self.is_read = True
        """The gateway takes what the visitor sends."""
        self.written = bytearray()
        self.ends: list[str] = []
        """What the gateway has done to end it."""
        self._mark = self._low = 0
        self._full = False

    def set_write_buffer_limits(self, high: int, low: int = 0) -> None:
        assert 0 <= low <= high
        self._mark, self._low = high, low

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: bytes) -> None:
        self.written += data
        self.waiting += 0 if self.reads else len(data)
        if self.waiting > self._mark and not self._full:
            self._full = True
            self.protocol.pause_writing()

    def take_nothing(self) -> None:
        """The visitor stops reading, with as many bytes waiting as may wait."""
        self.reads = False
        self._full = True
        self.protocol.pause_writing()

    def take(self, size: int) -> None:
        """The visitor reads some of the waiting bytes."""
        self.waiting -= size
        if self._full and self.waiting <= self._low:
            self._full = False
            self.protocol.resume_writing()

    def take_all(self) -> None:
        """The visitor reads all waiting bytes."""
        self.take(self.waiting)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ends.append("eof")

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


class Stream:
    """The tunnel's stream. It sends pieces while it is read."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.paused = False
        self.closed = False
        """By either of the two ways."""
        self.aborted = False
        self.ended = False
        """The gateway has said that no more comes."""
        self.written = bytearray()
        self.held = b""
        """What has come while it was paused."""

    def write(self, data: bytes) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        held, self.held = self.held, b""
        if held:
            self.sink.data_received(held)

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def sends(self, piece: bytes, most: int = VISITOR_HIGH_WATER_BYTES) -> int:
        """Send `most` pieces. Returns the number of pieces before the pause."""
        sent = 0
        while sent < most and not self.paused:
            self.sink.data_received(piece)
            sent += 1
        return sent


@asynccontextmanager
async def played(
    monkeypatch: pytest.MonkeyPatch,
    opened: Callable[[Stream], None] = lambda _: None,
    *,
    secure: bool = False,
    **edge: Any,
) -> AsyncIterator[tuple[Rig, H1Connection, Transport, list[Stream]]]:
    """A visitor and its streams. `opened` gets each stream before its dial returns."""
    streams: list[Stream] = []

    def dial(_grant: object, _originator: object, sink: Any) -> Stream:
        streams.append(Stream(sink))
        opened(streams[-1])
        return streams[-1]

    async with running_edge(1, **edge) as rig:
        monkeypatch.setattr(rig.tunnel, "dial", dial)
        visitor = rig.edge.protocol(secure=secure, port=80)
        transport = Transport(visitor)
        visitor.connection_made(cast(Any, transport))
        yield rig, visitor, transport, streams
        if visitor.phase is not ConnectionPhase.CLOSED:
            visitor.connection_lost(None)


Said = list[bytes | str]
"""The events of a play: the visitor sends bytes, the service text. `perform` lists words with another meaning."""


def perform(said: Said, visitor: H1Connection, transport: Transport, streams: list[Stream]) -> None:
    """Play the events in order. `end`: the visitor sends end-of-file; `stuck`: it stops reading; `full`: the service
    stops reading; `lost`: the visitor's connection is lost."""
    for words in said:
        if isinstance(words, bytes):
            visitor.data_received(words)
        elif words == "end":
            visitor.eof_received()
        elif words == "stuck":
            transport.take_nothing()
        elif words == "full":
            streams[0].sink.pause_writing()
        elif words == "lost":
            visitor.connection_lost(None)
        else:
            streams[-1].sink.data_received(words.encode())
