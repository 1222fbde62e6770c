"""A stream to a host of the network, or to a Unix socket: what the gateway has connected, as a `ferry.streams.Stream`.

it sends EOF                  sink.eof_received(); bytes for it go on
both have sent EOF            the socket closes after its buffered bytes: it would not by itself
it resets                     sink.stream_lost(error), also while nothing reads from it (`Unwatched`)
close()                       the buffered bytes are sent, for OUTBOUND_CLOSE_SECONDS at most
abort()                       RST: it must not take half a message for a whole one
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from ferry import limits
from ferry.policy.grants import HostGrant, SocketGrant
from ferry.streams import Sink, Stream

from .reset import reset
from .unwatched import Unwatched

GrantT = TypeVar("GrantT", HostGrant, SocketGrant)
Join = Callable[[GrantT, Stream], Sink]
"""Called with the stream that is there, and where it leads. Returns its sink."""


class HostStream(asyncio.Protocol, Generic[GrantT]):
    """One connection. It is the protocol of its own transport: the methods of a stream have other names."""

    def __init__(self, join: Join[GrantT], gone: Callable[[], None]) -> None:
        """`join` is called as soon as the stream is there. `gone` is called once, at the end of its transport."""
        self._join: Join[GrantT] = join
        self._gone = gone
        self._sink: Sink | None = None
        self.begun = False
        """It has a transport, and `gone` will be called."""
        self.ended = False
        """Its transport has closed, and `gone` was called."""
        self._grant: GrantT
        self._transport: asyncio.Transport
        self._unwatched: Unwatched
        self._read_paused = self._received_eof = self._sent_eof = False
        self._small = 0
        """Small writes behind waiting bytes, since the buffer was last empty."""
        self._closing: asyncio.TimerHandle | None = None

    def to(self, grant: GrantT) -> HostStream[GrantT]:
        """Itself, as the protocol of a connection that leads there."""
        self._grant = grant
        return self

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.begun = True
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        self._transport.set_write_buffer_limits(limits.HIGH_WATER_BYTES, limits.LOW_WATER_BYTES)
        self._unwatched = Unwatched(self._transport, self._unread, self._was_reset)
        self._sink = self._join(self._grant, self)

    def data_received(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.data_received(data)

    def eof_received(self) -> bool:
        self._received_eof = True
        if self._sink is not None:
            self._sink.eof_received()
        if self._sent_eof:
            return False  # the transport closes after its buffered bytes
        self._unwatched.watch()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatched.forget()
        if self._closing is not None:
            self._closing.cancel()
        self.ended = True
        self._gone()
        self._lost(exc)

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.pause_writing()

    def resume_writing(self) -> None:
        if self._small:
            self._small = 0
            self._transport.set_write_buffer_limits(limits.HIGH_WATER_BYTES, limits.LOW_WATER_BYTES)
        if self._sink is not None:
            self._sink.resume_writing()

    # --- Stream

    def write(self, data: bytes) -> None:
        self._transport.write(data)
        if len(data) < limits.SMALL_WRITE_BYTES and self._transport.get_write_buffer_size():
            self._small += 1
            if self._small == limits.SMALL_WRITES:
                self._transport.set_write_buffer_limits(0)  # the transport pauses us, and resumes us when it is empty

    def write_eof(self) -> None:
        self._sent_eof = True
        if self._received_eof:
            self.close()
        else:
            self._transport.write_eof()

    def close(self) -> None:
        self._transport.close()
        if self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(limits.OUTBOUND_CLOSE_SECONDS, self._transport.abort)

    def abort(self) -> None:
        self._sink = None
        if not self._transport.is_closing():
            reset(self._transport)
        else:
            self._transport.abort()

    def pause_reading(self) -> None:
        if not self._received_eof:  # else the loop does not read, and a resume would make it read the end again
            self._read_paused = True
            self._transport.pause_reading()
            self._unwatched.watch()

    def resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    # --- ends

    def _unread(self) -> bool:
        return self._read_paused or self._received_eof

    def _was_reset(self) -> None:
        self._lost(ConnectionResetError("the host has reset the connection"))
        self._transport.abort()

    def _lost(self, error: Exception | None) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.stream_lost(error)
