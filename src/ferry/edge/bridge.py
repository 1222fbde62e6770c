"""The bridge: raw bytes between a visitor's transport and a stream of a tunnel, in both directions, until both end.

Who ends what, and what the other side then sees:

    visitor sends FIN             stream.write_eof(); the way down goes on
    stream sends EOF              FIN to the visitor; the way up goes on
    both have done so             both are closed after what is buffered
    visitor resets                stream.abort(): the local service must not take half a message for a whole one;
                                  also while the visitor is not read from (`Unwatched`)
    stream lost with an error     RST to the visitor, for the same reason
    stream closed in good order   FIN to the visitor, whose bytes are read and dropped for a moment: closing at once
                                  would reset the connection and destroy the answer on its way (RFC 9112 §9.6)
    stream refused                RST, which is what a closed port looks like
    visitor over TLS sends EOF    asyncio's TLS cannot half-close: the stream is closed after what is buffered

Nothing here is a task, a future or a copy. Back-pressure is the two buffers' own water marks: the visitor's transport
pauses the stream, the stream's sink calls pause the transport. The visitor's last event (`connection_lost`) is the
bridge's end, exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

from ferry import limits
from ferry.streams import Direction, ExchangeTap, OpenFailure, Sink, Stream
from ferry.visits import Traffic

from .unsent import Choke, Unsent
from .unwatched import Unwatched

_BUFFER_FULL: Final = int(Choke.BUFFER_FULL)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # struct linger: on, 0 s, so that close() sends RST


class Phase(enum.Enum):
    """Where a bridge is."""

    NEW = "new"
    """Nothing is attached yet."""
    RELAY = "relay"
    """Both ends are attached; each direction is open or has had its EOF."""
    LINGER = "linger"
    """The stream is gone; the visitor is read from and its bytes dropped."""
    CLOSING = "closing"
    """Everything is closed; what is buffered for the visitor may still be on its way."""
    ENDED = "ended"


def reset(transport: asyncio.Transport) -> None:
    """Close with RST. `transport.abort()` alone sends FIN unless unread bytes happen to be waiting.

    Not after `connection_lost`: under uvloop the descriptor may be another connection's by then. A TLS transport that
    is closing may be past that point without our knowing, so it is only aborted.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and not (transport.is_closing() and transport.get_extra_info("sslcontext")):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class VisitorSide(asyncio.Protocol):
    """What asyncio calls. It only exists because a protocol and a sink have methods of the same names."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._bridge.visitor_connected(cast(asyncio.Transport, transport))  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        self._bridge.visitor_data(data)

    def eof_received(self) -> bool:
        return self._bridge.visitor_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._bridge.visitor_lost(exc)

    def pause_writing(self) -> None:
        self._bridge.visitor_full()

    def resume_writing(self) -> None:
        self._bridge.visitor_drained()


class Bridge(Sink):
    """One visit. The object itself is the stream's sink; `visitor` is the protocol of the visitor's transport.

    `connected` is called with the new connection where `visitor` is what a server's factory returned; it must call
    `join`, or close the transport. `on_end` is called once, when the visitor is gone. `crowd` tells how
    many visitors its tunnel has; unless it is given, they are too few to matter.
    """

    stream: Stream
    transport: asyncio.Transport

    def __init__(
        self,
        *,
        traffic: Traffic,
        on_end: Callable[[Bridge], None],
        connected: Callable[[Bridge, asyncio.Transport], None] | None = None,
        tap: ExchangeTap | None = None,
        crowd: Callable[[], int] = lambda: 0,
    ) -> None:
        self.visitor: Final = VisitorSide(self)
        self.phase = Phase.NEW
        self.up = 0
        """Bytes from the visitor."""
        self.down = 0
        """Bytes to the visitor."""
        self.failure: OpenFailure | None = None
        self.error: Exception | None = None
        self.tap = tap
        self._traffic = traffic
        self._on_end = on_end
        self._connected = connected
        self._up_done = False
        self._down_done = False
        self.choked = 0
        """Why the stream is not read, as `Choke`."""
        self._crowd = crowd
        self._unsent: Unsent | None = None
        self._look_at = limits.VISITOR_UNSENT_LEAST_BYTES  # once so much has gone down, a look at what is unsent of it
        self._small = 0  # small writes that found bytes waiting, since the visitor had taken all
        self._linger: asyncio.TimerHandle | None = None
        self._paused = False
        self._unwatched: Unwatched | None = None  # once it was not read from

    def join(self, transport: asyncio.Transport, dial: Callable[[Sink], Stream]) -> None:
        """Attach both ends. `dial` may call `stream_refused` before it returns, nothing else."""
        self.transport = transport
        self.phase = Phase.RELAY
        transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.stream = dial(self)
        if transport.get_write_buffer_size() > limits.VISITOR_HIGH_WATER_BYTES:
            self._choke(_BUFFER_FULL)  # filled by the transport's former protocol, which alone was told

    def cut(self, error: Exception | None = None) -> None:
        """End both sides now, dropping what is buffered."""
        if self.phase is Phase.RELAY:
            self.error = error
            self._stop(Phase.CLOSING)
            self.stream.abort()
        if self.phase is not Phase.ENDED:
            reset(self.transport)

    # --- the visitor's transport

    def visitor_connected(self, transport: asyncio.Transport) -> None:
        """A server made the connection."""
        self.transport = transport
        if self._connected is None:
            transport.abort()
        else:
            self._connected(self, transport)

    def visitor_data(self, data: bytes) -> None:
        """Bytes from the visitor; dropped once the stream is gone."""
        if self.phase is not Phase.RELAY:
            return
        size = len(data)
        self.up += size
        self._traffic.up += size
        if self.tap is not None:
            self.tap.seen(Direction.UP, data)
        self.stream.write(data)

    def visitor_eof(self) -> bool:
        """The visitor will send no more. True keeps its transport open for the way down."""
        if self.phase is not Phase.RELAY:
            return False  # whatever is buffered is sent, then the transport closes
        self._up_done = True
        self.stream.write_eof()
        if self._down_done:
            self._stop(Phase.CLOSING)
            self.stream.close()
            return False
        self._watch()
        return self.transport.can_write_eof()

    def visitor_lost(self, exc: Exception | None) -> None:
        """The visitor is gone, and with it the visit."""
        if self.phase is Phase.ENDED:
            return
        if self.phase is Phase.RELAY:
            if exc is None and self._up_done:
                self.stream.close()
            else:
                self.stream.abort()
        if self.error is None:
            self.error = exc
        self._stop(Phase.ENDED)
        if self.tap is not None:
            self.tap.ended(self.error)
        self._on_end(self)

    def visitor_full(self) -> None:
        """The visitor reads slower than the tunnel sends."""
        self._choke(_BUFFER_FULL)

    def visitor_drained(self) -> None:
        """It has caught up."""
        if self._small:
            self._small = 0
            self.transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self._unchoke(_BUFFER_FULL)

    def _choke(self, why: int) -> None:
        if not self.choked and self.phase is Phase.RELAY:
            self.stream.pause_reading()
        self.choked |= why

    def _unchoke(self, why: int) -> None:
        self.choked &= ~why
        if not self.choked and self.phase is Phase.RELAY:
            self.stream.resume_reading()

    def _look_at_unsent(self) -> int:
        if self._unsent is None:
            self._unsent = Unsent(self.transport, self._choke, self._unchoke)
        return self._unsent.look(self._crowd())

    # --- the tunnel's stream (ferry.streams.Sink)

    def stream_opened(self) -> None:
        """Nothing waits for this: what the visitor sent meanwhile is in the stream's buffer."""

    def stream_refused(self, failure: OpenFailure) -> None:
        self.failure = failure
        if self.phase is Phase.RELAY:
            self._stop(Phase.CLOSING)
            reset(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.phase is not Phase.RELAY:
            return
        size = len(data)
        self.down += size
        self._traffic.down += size
        if self.tap is not None:
            self.tap.seen(Direction.DOWN, data)
        self.transport.write(data)
        if size < limits.SMALL_WRITE_BYTES and self.transport.get_write_buffer_size():
            self._small += 1
            if self._small == limits.SMALL_WRITES:
                self.transport.set_write_buffer_limits(0)  # it says so at once, and again when all has gone
        if self.down >= self._look_at:
            self._look_at = self.down + self._look_at_unsent()

    def eof_received(self) -> None:
        if self.phase is not Phase.RELAY:
            return
        self._down_done = True
        if self._up_done or not self.transport.can_write_eof():
            self._stop(Phase.CLOSING)
            self.stream.close()
            self.transport.close()
        else:
            self.transport.write_eof()

    def stream_lost(self, error: Exception | None) -> None:
        if self.phase is not Phase.RELAY:
            return
        if error is not None:
            self.error = error
            self._stop(Phase.CLOSING)
            reset(self.transport)
        elif self._up_done or not self.transport.can_write_eof():
            self._stop(Phase.CLOSING)
            self.transport.close()
        else:
            self._stop(Phase.LINGER)
            if not self._down_done:
                self.transport.write_eof()
            self.transport.resume_reading()
            self._linger = asyncio.get_running_loop().call_later(limits.LINGER_SECONDS, self._linger_over)

    def pause_writing(self) -> None:
        if self.phase is Phase.RELAY:
            self._paused = True
            self.transport.pause_reading()
            self._watch()

    def resume_writing(self) -> None:
        self._paused = False
        if self.phase is Phase.RELAY:
            self.transport.resume_reading()

    # --- while the loop does not read from the visitor

    def _watch(self) -> None:
        if self._unwatched is None:
            self._unwatched = Unwatched(self.transport, self._unread, self.cut)
        self._unwatched.watch()

    def _unread(self) -> bool:
        return self._paused or self._up_done

    # --- ends

    def _stop(self, phase: Phase) -> None:
        self.phase = phase
        if self._unsent is not None:
            self._unsent.forget()
        if self._unwatched is not None:
            self._unwatched.forget()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def _linger_over(self) -> None:
        self._stop(Phase.CLOSING)
        self.transport.close()
