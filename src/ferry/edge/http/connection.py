"""A visitor's connection, without the parts of one HTTP version: admission, pausing, deadlines, and its ends."""

from __future__ import annotations

import asyncio
import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Protocol, cast

from ferry import limits
from ferry.edge.connections import Connections
from ferry.edge.reset import reset
from ferry.edge.unsent import Unsent, has_left
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.serialize import numeric_host
from ferry.relay import WritePause

from . import pages
from .backend import Backends
from .dates import Dates
from .exchange import Exchange
from .round import Round
from .shared import Shared


class ConnectionOwner(Protocol):
    """The edge, for its connections."""

    draining: bool
    """The edge stops: each connection closes after its next answer."""
    heads: dict[bytes, RequestHead]
    """The heads of the last second, parsed."""

    def joined(self, connection: VisitorConnection) -> None:
        """The connection has opened."""
        ...

    def left(self, connection: VisitorConnection) -> None:
        """The connection is gone."""
        ...

    backends: Backends
    """The backends by host."""
    limiter: ConnectionLimiter
    """Counts the connections of each source."""
    all_connections: Connections
    """The connections of all edges: they share the descriptors."""
    dates: Dates
    """For the gateway's own answers."""
    round: Round
    """The queue of connections that have more than one piece of work."""


class ConnectionPhase(enum.Enum):
    """The phase of a connection."""

    READING = enum.auto()
    """Between two requests, or reading a head."""
    BUSY = enum.auto()
    """Serving a request."""
    LINGER = enum.auto()
    """The last answer is written. Bytes that still come are dropped."""
    CLOSED = enum.auto()


class ReadPause(enum.IntFlag):
    """The reasons for not reading from a visitor."""

    STREAM_FULL = 1
    READ_AHEAD = 2
    BEHIND = 4
    """The visitor has sent more than one piece of work (`round`)."""


STREAM_FULL, READ_AHEAD, BEHIND = int(ReadPause.STREAM_FULL), int(ReadPause.READ_AHEAD), int(ReadPause.BEHIND)
_BUFFER_FULL, _UNSENT = int(WritePause.BUFFER_FULL), int(WritePause.UNSENT)

# Members as plain globals: a look-up on the class for each connection is slower.
_READING, _, _LINGER, _CLOSED = ConnectionPhase
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
        "deadline",
        "ended",
        "peer",
        "phase",
        "read_paused",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport
    """asyncio sets it before any other call."""

    def __init__(self, owner: ConnectionOwner, shared: Shared) -> None:
        self._owner = owner
        self._shared = shared
        self.peer = _UNKNOWN
        self.phase = _READING
        self.buffer = b""
        """Received bytes that no code has taken yet."""
        self.deadline = 0.0  # monotonic seconds; 0 for none
        self.read_paused = 0  # flags of `ReadPause`
        self.write_paused = 0  # flags of `WritePause`: the reasons for not writing more to the visitor
        self.ended = False  # the visitor has sent end-of-file
        self._network = ""  # the source that `ConnectionOwner.limiter` counts it for
        self._unsent: Unsent | None = None  # from the first check on
        self._small_writes = 0  # behind waiting bytes, since the buffer was last empty

    # --- what an HTTP version adds

    @property
    @abstractmethod
    def scheme(self) -> str:
        """`http` or `https`."""

    @abstractmethod
    def _started(self) -> None:
        """The transport and the peer are set."""

    @abstractmethod
    def _refuse_connection(self, status: int, reason: str) -> None:
        """Answer before any request, and close."""

    @abstractmethod
    def _on_pause_writes(self) -> None:
        """The visitor does not read fast enough: stop writing until `_on_resume_writes`."""

    @abstractmethod
    def _on_resume_writes(self) -> None:
        """Writing may go on."""

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast("asyncio.Transport", transport)
        shared = self._shared
        if peer := transport.get_extra_info("peername"):
            self.peer = Endpoint(numeric_host(peer[0]), peer[1])
        transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.expire_in(shared.bounds.head_seconds)
        self._started()
        admitted = self._owner.all_connections.admit(self, transport)
        self._owner.joined(self)
        if not admitted:
            self._write_page(503, pages.FULL, None, close=True)
            self.shut()
        elif (network := self._owner.limiter.enter(self.peer.host)) is None:
            self._refuse_connection(503, pages.CROWDED)
        else:
            self._network = network

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = _CLOSED
        self.deadline = 0.0
        self.buffer = b""
        self._owner.limiter.leave(self._network)
        self._network = ""
        self._owner.left(self)
        self._owner.all_connections.left(self)
        self._forget_unsent()
        self._unsent = None  # it holds this connection

    def pause_writing(self) -> None:
        self.pause_writes(_BUFFER_FULL)

    def resume_writing(self) -> None:
        if self._small_writes:  # the visitor has read all of them
            self._small_writes = 0
            self.transport.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self.resume_writes(_BUFFER_FULL)

    # --- its place among all connections (`ferry.edge.connections.Connected`; the HTTP version adds the rest)

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
    def last_check(self) -> tuple[float, int] | None: ...

    @abstractmethod
    def disconnect(self) -> None: ...

    # --- the edge's

    @property
    @abstractmethod
    def exchanges(self) -> Sequence[Exchange]:
        """The exchanges that it carries."""

    @abstractmethod
    def expired(self) -> None:
        """The deadline has passed."""

    @property
    @abstractmethod
    def awaits_visitor(self) -> bool:
        """The visitor has to send a body, or to read."""

    @abstractmethod
    def check_pace(self, now: float) -> None:
        """Disconnect a visitor that sends or reads too slowly."""

    @abstractmethod
    def drain(self) -> None:
        """The edge stops: close now if there is no request; otherwise after the next answer."""

    def has_left_unseen(self) -> bool:
        """Whether the visitor has reset while the loop does not watch the socket: while reading is paused, and after
        the visitor's end-of-file. Without this check the reset stays unseen until the service reads or writes."""
        return has_left(self.transport)

    # --- back-pressure

    def pause_writes(self, why: int) -> None:
        """Add a reason for taking no more from the service."""
        if not self.write_paused:
            self._on_pause_writes()
        self.write_paused |= why

    def resume_writes(self, why: int) -> None:
        """Remove a reason; go on if it was the last one."""
        self.write_paused &= ~why
        if not self.write_paused:
            self._on_resume_writes()

    def _wrote_little(self) -> None:
        """Count a small write behind waiting bytes. Each takes far more memory than its bytes. So after SMALL_WRITES
        the transport pauses us at once, and resumes us when its buffer is empty."""
        self._small_writes += 1
        if self._small_writes == limits.SMALL_WRITES:
            self.transport.set_write_buffer_limits(0)

    def _look_at_unsent(self, visitors: int) -> int:
        """As `Unsent.look`; the tunnel has so many `visitors`."""
        if self._unsent is None:
            self._unsent = Unsent(self.transport, self.pause_writes, self.resume_writes)
        return self._unsent.look(visitors)

    def _forget_unsent(self) -> None:
        """The unsent bytes are the end of an answer, or the visitor is gone: stop checking them."""
        if self._unsent is not None:
            self._unsent.forget()
            if self.write_paused == _UNSENT:
                self.resume_writes(_UNSENT)
            self.write_paused &= ~_UNSENT

    def _pause_reads(self, why: int) -> None:
        """Add a reason for not reading."""
        if not self.read_paused:
            self.transport.pause_reading()
        self.read_paused |= why

    def _resume_reads(self, why: int) -> None:
        """Remove reasons for not reading; go on when there is none left."""
        if self.read_paused:
            self.read_paused &= ~why
            if not self.read_paused:
                self.transport.resume_reading()

    # --- ends

    def _write_page(self, status: int, reason: str, request: RequestHead | None, *, close: bool) -> None:
        date = self._owner.dates.field()
        if status == 200:  # at the gateway's own name
            assert request is not None
            self.transport.write(self._shared.own_page().answer(request, close=close, date=date))
        else:
            self.transport.write(pages.answer(status, reason, request, close=close, date=date))

    def expire_in(self, seconds: float) -> None:
        """Set the deadline. The edge checks it at each tick, so it may act one tick late."""
        self.deadline = self._shared.clock.monotonic() + seconds

    def linger(self) -> None:
        """RFC 9112 §9.6: close in stages, or a reset may destroy the answer before the visitor has read it."""
        if self.ended or self.transport.is_closing():
            self.shut()
            return
        self.phase = _LINGER
        self.buffer = b""
        self.expire_in(self._shared.bounds.linger_seconds)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._resume_reads(STREAM_FULL | READ_AHEAD | BEHIND)

    def shut(self) -> None:
        """Close after the buffered bytes. A visitor that does not read them is cut after CLOSE_SECONDS."""
        self.phase = _LINGER
        self.buffer = b""
        self.expire_in(limits.CLOSE_SECONDS)
        self.transport.close()

    def abort(self) -> None:
        """Cut with a reset, not an end-of-file, so that the visitor cannot take half an answer for a whole one."""
        self.phase = _LINGER
        self.deadline = 0.0
        reset(self.transport)
