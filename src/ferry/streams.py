"""The two halves of every byte path: a `Stream` we write to, and a `Sink` that is called with what comes back.

`dial(grant, originator, sink) -> Stream` is the one primitive that all edges use. It returns at once, before the far
side has answered. No task or future is on this path: making them for each visitor was half of the cost. The order of
calls on a sink is

    stream_opened (data_received | pause_writing | resume_writing)* eof_received? stream_lost
    stream_refused

and no call follows `stream_lost`, `stream_refused`, or the owner's own `abort()`.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from .names import Endpoint
from .protocol.http1.request import RequestHead

ANY_VISITOR: Final = Endpoint("127.0.0.1", 80)
"""The originator of a stream for many visitors, or for a visitor of unknown address. It must look like a socket's
address: clients refuse a channel from port 0."""


class OpenFailure(enum.Enum):
    """Why a stream was never opened."""

    REFUSED = "refused"
    """The client answered that its local service cannot be reached (RFC 4254 §5.1 SSH_OPEN_CONNECT_FAILED)."""
    GONE = "gone"
    """The tunnel closed before the stream opened."""
    LIMIT = "limit"
    """The tunnel is at its limit of streams."""
    TIMEOUT = "timeout"
    """The client did not answer in time."""
    SILENT = "silent"
    """The client has left a keepalive unanswered: it is not asked to open a stream."""


class Stream(Protocol):
    """One open, or opening, two-way byte stream into a tunnel."""

    def write(self, data: bytes) -> None:
        """Send `data`. While the stream opens, `data` is buffered until the far side confirms. Never blocks. When the
        buffer passes its bound, the stream calls the sink's `pause_writing`, and the writer must stop."""
        ...

    def write_eof(self) -> None:
        """Half-close: the writer sends no more data. Reading goes on."""
        ...

    def close(self) -> None:
        """Send the buffered data, then close both directions. `stream_lost(None)` follows."""
        ...

    def abort(self) -> None:
        """Close both directions now and drop the buffered data. The sink is not called again."""
        ...

    def pause_reading(self) -> None:
        """Stop `data_received`. The stream still buffers one receive window at most."""
        ...

    def resume_reading(self) -> None:
        """Undo `pause_reading`. Buffered data is delivered, possibly before this returns."""
        ...


class Sink(Protocol):
    """The receiver of a stream's data."""

    def stream_opened(self) -> None:
        """The far side has confirmed."""
        ...

    def stream_refused(self, failure: OpenFailure) -> None:
        """The stream was never opened."""
        ...

    def data_received(self, data: bytes) -> None:
        """Bytes arrived, in order. Never empty."""
        ...

    def eof_received(self) -> None:
        """The far side will send no more; writing to it may go on."""
        ...

    def stream_lost(self, error: Exception | None) -> None:
        """The stream is gone. `error` is None when the far side closed it in good order."""
        ...

    def pause_writing(self) -> None:
        """The stream's buffer is over its high-water mark: stop writing."""
        ...

    def resume_writing(self) -> None:
        """The buffer has drained: writing may go on."""
        ...


class Direction(enum.Enum):
    """The direction of bytes, seen from the visitor."""

    UP = "up"
    DOWN = "down"


class Tap(Protocol):
    """Watches a tunnel, for an inspector. Without a tap it costs one comparison.

    A tap is called on the hot path, must not block, must not raise, and must bound what it keeps.
    """

    def begin(self, request: RequestHead | None) -> ExchangeTap:
        """A request begins; for other kinds, a connection (`request` is None). Its data goes to the returned tap."""
        ...


class ExchangeTap(Protocol):
    """Watches one request and its answer, or one connection."""

    def seen(self, direction: Direction, data: bytes) -> None:
        """`data` is about to be relayed."""
        ...

    def ended(self, error: Exception | None) -> None:
        """The relay is over."""
        ...
