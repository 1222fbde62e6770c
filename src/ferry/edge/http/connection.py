"""What is true of a visitor's connection whatever is spoken on it: admission, pausing, deadlines, and the ways it ends."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol, cast

from ferry import limits
from ferry.edge.unsent import Unsent, has_left
from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.serialize import numeric_host
from ferry.relay import Choke

from . import pages
from .backend import Backends
from .exchange import Exchange
from .shared import Shared


class Owner(Protocol):
    """The edge, as its connections call it."""

    draining: bool
    """Each connection's next answer is its last."""
    heads: dict[bytes, RequestHead]
    """What heads of the last second meant."""

    def joined(self, connection: VisitorConnection) -> None:
        """It is there."""
        ...

    def left(self, connection: VisitorConnection) -> None:
        """It is gone."""
        ...

    backends: Backends
    """Who serves which host."""


class Phase(enum.Enum):
    """Where a connection is."""

    READING = enum.auto()
    """Between two requests, or reading a head."""
    BUSY = enum.auto()
    """A request is being served."""
    LINGER = enum.auto()
    """Answered for the last time; what still comes is dropped."""
    CLOSED = enum.auto()


class Pause(enum.IntFlag):
    """Why reading from a visitor is paused."""

    STREAM_FULL = 1
    READ_AHEAD = 2
    BEHIND = 4
    """What has come is more than one piece of work (`round`)."""


STREAM_FULL, READ_AHEAD, BEHIND = int(Pause.STREAM_FULL), int(Pause.READ_AHEAD), int(Pause.BEHIND)
_BUFFER_FULL, _UNSENT = int(Choke.BUFFER_FULL), int(Choke.UNSENT)

_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: close() sends RST
_UNKNOWN: Final = Endpoint("0.0.0.0", 0)


class VisitorConnection(asyncio.Protocol, ABC):
    """The base of each HTTP version's connection."""

    __slots__ = (
        "_network",
        "_owner",
        "_shared",
        "_small_writes",
        "_unsent",
        "buffer",
        "choked",
        "deadline",
        "ended",
        "paused",
        "peer",
        "phase",
        "transport",
    )

    transport: asyncio.Transport
    """asyncio sets it before any other call."""

    def __init__(self, owner: Owner, shared: Shared) -> None:
        self._owner = owner
        self._shared = shared
        self.peer = _UNKNOWN
        self.phase = Phase.READING
        self.buffer = b""
        """What has come and is not taken yet."""
        self.deadline = 0.0  # monotonic; 0 for none
        self.paused = 0  # as `Pause`
        self.choked = 0  # as `Choke`: why nothing more is written to the visitor
        self.ended = False  # the visitor has sent end-of-file
        self._network = ""  # what it is counted for by `Shared.limiter`
        self._unsent: Unsent | None = None  # once it was looked at
        self._small_writes = 0  # that found bytes waiting, since the visitor had taken all

    # --- what an HTTP version adds

    @property
    @abstractmethod
    def scheme(self) -> str:
        """`http` or `https`."""

    @abstractmethod
    def _started(self) -> None:
        """The transport is there, and the peer is known."""

    @abstractmethod
    def _refuse_connection(self, status: int, reason: str) -> None:
        """Answer before any request, and let go."""

    @abstractmethod
    def _stop_writing(self) -> None:
        """The visitor takes no more for now."""

    @abstractmethod
    def _go_on_writing(self) -> None:
        """It takes more."""

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        shared = self._shared
        if peer := transport.get_extra_info("peername"):
            self.peer = Endpoint(numeric_host(peer[0]), peer[1])
        transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.expire_in(shared.bounds.head_seconds)
        self._started()
        admitted = shared.connections.admit(self, transport)
        self._owner.joined(self)
        if not admitted:
            self._write_page(503, pages.FULL, None, close=True)
            self.shut()
        elif (network := shared.limiter.enter(self.host)) is None:
            self._refuse_connection(503, pages.CROWDED)
        else:
            self._network = network

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = Phase.CLOSED
        self.deadline = 0.0
        self.buffer = b""
        self._shared.limiter.leave(self._network)
        self._network = ""
        self._owner.left(self)
        self._shared.connections.left(self)
        self._forget_unsent()

    def pause_writing(self) -> None:
        self.choke(_BUFFER_FULL)

    def resume_writing(self) -> None:
        if self._small_writes:  # the visitor has caught up
            self._small_writes = 0
            self.transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.unchoke(_BUFFER_FULL)

    # --- its place among all connections (`ferry.edge.connections.Connected`; the rest of it is the version's)

    @property
    def host(self) -> str:
        """The visitor's numeric address."""
        return self.peer.host

    @property
    @abstractmethod
    def since(self) -> float: ...

    @abstractmethod
    def standing(self) -> tuple[Standing, int]: ...

    @abstractmethod
    def looked_at(self) -> tuple[float, int] | None: ...

    @abstractmethod
    def disconnect(self) -> None: ...

    # --- the edge's

    @property
    @abstractmethod
    def exchanges(self) -> Sequence[Exchange]:
        """Those that it carries."""

    @abstractmethod
    def expired(self) -> None:
        """The deadline has passed."""

    @property
    @abstractmethod
    def waited_for(self) -> bool:
        """A body is due from the visitor, or it does not read."""

    @abstractmethod
    def check_pace(self, now: float) -> None:
        """Part with a visitor that sends or reads too slowly."""

    @abstractmethod
    def drain(self) -> None:
        """The edge is stopping: close now if nothing is going on; otherwise the next answer is the last."""

    def has_left_unseen(self) -> bool:
        """While reading is paused, and after the visitor's end-of-file, the loop does not watch the socket, so a reset
        would go unnoticed for as long as the service neither reads nor says anything."""
        return has_left(self.transport)

    # --- back-pressure

    def choke(self, why: int) -> None:
        """Take no more from the service for this reason."""
        if not self.choked:
            self._stop_writing()
        self.choked |= why

    def unchoke(self, why: int) -> None:
        """Go on, if that was the only one."""
        self.choked &= ~why
        if not self.choked:
            self._go_on_writing()

    def _wrote_little(self) -> None:
        """A small write has found others waiting. Each takes far more memory than its bytes: past SMALL_WRITES the
        transport says at once that it is full, and again when all has gone."""
        self._small_writes += 1
        if self._small_writes == limits.SMALL_WRITES:
            self.transport.set_write_buffer_limits(0)

    def _look_at_unsent(self, visitors: int) -> int:
        """As `Unsent.look`, among so many visitors of the tunnel."""
        if self._unsent is None:
            self._unsent = Unsent(self.transport, self.choke, self.unchoke)
        return self._unsent.look(visitors)

    def _forget_unsent(self) -> None:
        """What is unsent is the end of an answer, or nobody's."""
        if self._unsent is not None:
            self._unsent.forget()
            if self.choked == _UNSENT:
                self.unchoke(_UNSENT)
            self.choked &= ~_UNSENT

    def _pause(self, why: int) -> None:
        """Stop reading until every reason is gone."""
        if not self.paused:
            self.transport.pause_reading()
        self.paused |= why

    def _resume(self, why: int) -> None:
        """Take back reasons to pause."""
        if self.paused:
            self.paused &= ~why
            if not self.paused:
                self.transport.resume_reading()

    # --- ends

    def _write_page(self, status: int, reason: str, request: RequestHead | None, *, close: bool) -> None:
        self.transport.write(pages.answer(status, reason, request, close=close, date=self._shared.dates.field()))

    def expire_in(self, seconds: float) -> None:
        """Set the deadline. The edge's tick compares it with its clock, so it may be late by one tick."""
        self.deadline = self._shared.clock.monotonic() + seconds

    def linger(self) -> None:
        """RFC 9112 §9.6: close in stages, or a reset may destroy the answer before the visitor has read it."""
        if self.ended or self.transport.is_closing():
            self.shut()
            return
        self.phase = Phase.LINGER
        self.buffer = b""
        self.expire_in(self._shared.bounds.linger_seconds)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._resume(STREAM_FULL | READ_AHEAD | BEHIND)

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
