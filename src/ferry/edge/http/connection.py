"""What is true of a visitor's connection whatever is being said on it: pausing, deadlines, and the ways it ends."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

from ferry import limits
from ferry.edge.unsent import Choke, Unsent, has_left, untaken
from ferry.names import Endpoint
from ferry.protocol.http1.serialize import numeric_host

from .state import EdgeState

if TYPE_CHECKING:
    from ferry.policy.shortage import Standing

    from .pool import Pool


class Phase(enum.Enum):
    """Where a connection is."""

    HEAD = enum.auto()
    """Between two requests, or reading a head."""
    LOOKUP = enum.auto()
    """Asking whether a name without a route is somebody's."""
    BODY = enum.auto()
    """The request's body is coming; its answer may be going already."""
    ANSWER = enum.auto()
    """The request has been read whole."""
    RAW = enum.auto()
    """Switched to another protocol."""
    LINGER = enum.auto()
    """Answered for the last time; what still comes is dropped."""
    CLOSED = enum.auto()


class Pause(enum.IntFlag):
    """Why reading from a visitor is paused."""

    STREAM_FULL = 1
    READ_AHEAD = 2


STREAM_FULL, READ_AHEAD = int(Pause.STREAM_FULL), int(Pause.READ_AHEAD)


_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close() sends RST
_UNKNOWN = Endpoint("0.0.0.0", 0)


class Connection(asyncio.Protocol):
    """The base of `Visitor`."""

    __slots__ = (
        "buffer",
        "choked",
        "deadline",
        "edge",
        "ended",
        "host",
        "paused",
        "peer",
        "phase",
        "pool",
        "secure",
        "since",
        "small_writes",
        "transport",
        "unsent",
    )

    def __init__(self, edge: EdgeState, *, secure: bool) -> None:
        self.edge = edge
        self.secure = secure
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)  # asyncio sets it before any other call
        self.peer = _UNKNOWN
        self.host = "unknown"  # the peer's address as forwarding fields show it (RFC 7239 §6.2)
        self.phase = Phase.HEAD
        self.buffer = b""
        self.since = 0.0  # monotonic; when its request began, or its connection where it has not asked yet
        self.deadline = 0.0  # monotonic; 0 for none
        self.paused = 0
        self.choked = 0  # as `Choke`: why nothing more is written to the visitor
        self.unsent: Unsent | None = None  # once it was looked at
        self.small_writes = 0  # that found bytes waiting, since the visitor had taken all
        self.ended = False  # the visitor has sent end-of-file
        self.pool: Pool | None = None  # where its request has a place

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        if peer:
            self.host = numeric_host(peer[0])
            self.peer = Endpoint(self.host, peer[1])
        transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.since = self.edge.clock.monotonic()
        self.deadline = self.since + self.edge.bounds.head_seconds
        admitted = self.edge.connections.admit(self, transport)
        self.edge.visitors.add(self)
        if not admitted:
            self.turn_away()

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.CLOSED
        self.deadline = 0.0
        self.buffer = b""
        self.edge.visitors.discard(self)
        self.edge.connections.left(self)
        self.forget_unsent()
        if self.edge.draining and not self.edge.visitors:
            self.edge.empty.set()

    def expire_in(self, seconds: float) -> None:
        """Set the deadline. The edge's tick compares it with its clock, so it may be late by one tick."""
        self.deadline = self.edge.clock.monotonic() + seconds

    def expired(self) -> None:
        """The deadline has passed: the last answer had its time to be read."""
        if self.transport.is_closing():
            self.abort()
        else:
            self.shut()

    @abstractmethod
    def standing(self) -> tuple[Standing, int]:
        """This and the next two as `ferry.policy.shortage.Holder`."""

    @abstractmethod
    def looked_at(self) -> tuple[float, int] | None: ...

    @abstractmethod
    def displace(self) -> None: ...

    @abstractmethod
    def disconnect(self) -> None:
        """As `ferry.edge.connections.Connected`."""

    @abstractmethod
    def turn_away(self) -> None:
        """Refuse a newcomer for whom there is no descriptor."""

    @abstractmethod
    def check_pace(self, now: float) -> None:
        """Part with a visitor that sends or reads too slowly."""

    def wrote_little(self) -> None:
        """A small write has found others waiting. Each takes far more memory than its bytes: past SMALL_WRITES the
        transport says at once that it is full, and again when all has gone."""
        self.small_writes += 1
        if self.small_writes == limits.SMALL_WRITES:
            self.transport.set_write_buffer_limits(0)

    def read_all(self) -> None:
        """The visitor has caught up."""
        if self.small_writes:
            self.small_writes = 0
            self.transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)

    def has_left_unseen(self) -> bool:
        """While reading is paused the loop does not watch the socket, so a visitor's reset would go unnoticed for as
        long as the service does not read."""
        return has_left(self.transport)

    def untaken(self) -> int:
        """Bytes written for the visitor that its own system has not acknowledged."""
        return untaken(self.transport)

    @abstractmethod
    def choke(self, why: int) -> None:
        """Take no more from the service for this reason."""

    @abstractmethod
    def unchoke(self, why: int) -> None:
        """Go on, if that was the only one."""

    def look_at_unsent(self) -> int:
        """As `Unsent.look`, among the visitors of its tunnel."""
        if self.unsent is None:
            self.unsent = Unsent(self.transport, self.choke, self.unchoke)
        return self.unsent.look(0 if self.pool is None else self.pool.places.taken)

    def forget_unsent(self) -> None:
        """What is unsent is the end of an answer, or nobody's."""
        if self.unsent is not None:
            self.unsent.forget()
            self.choked &= ~int(Choke.UNSENT)

    def drain(self) -> None:
        """The edge is stopping: close now if nothing is going on; otherwise the next answer is the last."""
        if self.phase is Phase.HEAD and not self.buffer:
            self.shut()

    def pause(self, why: int) -> None:
        """Stop reading until every reason is gone."""
        if not self.paused:
            self.transport.pause_reading()
        self.paused |= why

    def resume(self, why: int) -> None:
        """Take back reasons to pause."""
        if self.paused:
            self.paused &= ~why
            if not self.paused:
                self.transport.resume_reading()

    def linger(self) -> None:
        """RFC 9112 §9.6: close in stages, or a reset may destroy the answer before the visitor has read it."""
        if self.ended:
            self.shut()
            return
        self.phase = Phase.LINGER
        self.buffer = b""
        self.expire_in(self.edge.bounds.linger_seconds)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume(STREAM_FULL | READ_AHEAD)

    def shut(self) -> None:
        """Close after what is buffered; a visitor who does not read it is cut off later."""
        self.phase = Phase.LINGER
        self.buffer = b""
        self.expire_in(limits.CLOSE_SECONDS)
        self.transport.close()

    def abort(self) -> None:
        """Cut, so that the visitor cannot take what it has for the whole: by a reset, not an end-of-file."""
        self.phase = Phase.LINGER
        self.deadline = 0.0
        if (sock := self.transport.get_extra_info("socket")) is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()
