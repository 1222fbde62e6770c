"""The relay: it moves raw bytes in both directions between the visitor's side (near) and a stream of a tunnel.

The end of one side, and the call that passes it to the other side:

    near sends EOF                stream.write_eof(); bytes for near go on
    stream sends EOF              near.write_eof(); bytes from near go on
    near closes in good order     stream.close(), after the buffered bytes
    near breaks                   stream.abort(): the local service must not take half a message for a whole one
    stream closes in good order   near.close(), after the buffered bytes
    stream breaks                 near.abort(), for the same reason
    stream is refused             near.abort()

This is enough to join two SSH channels (`ssh/direct.py`). `edge/bridge.py` adds the events of a socket.

The relay makes no task, no future and no copy. Back-pressure uses the water marks of the two buffers: when near is
full, the stream pauses, and when the stream is full, near pauses. `ended` is called exactly once.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from .streams import Direction, ExchangeTap, OpenFailure, Sink, Stream
from .visits import Traffic


class RelayPhase(enum.Enum):
    """The phase of a relay."""

    NEW = "new"
    """Not joined yet."""
    RELAY = "relay"
    """Both sides are joined. Each direction is open, or has ended with an EOF."""
    LINGER = "linger"
    """The stream is gone. The relay reads from near and drops the bytes."""
    CLOSING = "closing"
    """Both sides are closed. Buffered bytes for near may still be on their way."""
    ENDED = "ended"


class WritePause(enum.IntFlag):
    """The reasons for not writing more to a visitor."""

    BUFFER_FULL = 1
    """The buffer of its transport or its channel is full."""
    UNSENT = 2
    """The kernel has too many unsent bytes for it."""


# Members as plain globals: a look-up on the class for each chunk is slower.
_RELAY: Final = RelayPhase.RELAY
_BUFFER_FULL: Final = int(WritePause.BUFFER_FULL)


class Near(Protocol):
    """The visitor's side: an `asyncio.Transport` or an SSH channel. Its methods are those of `Stream`."""

    def write(self, data: bytes, /) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


NearT = TypeVar("NearT", bound=Near)


class Relay(Generic[NearT]):
    """One visit. The object itself is the stream's sink; the listener of near calls the `near_…` methods.

    The visit ends with the first side that closes or breaks. A channel closes once its peer has taken the last bytes;
    if the peer never does (`ssh/wire/endings.py`), the relay does not learn of it.

    Bytes, ends-of-file and the end of the stream count in `RelayPhase.RELAY` only. Later ones are dropped.
    """

    near: NearT
    stream: Stream

    def __init__(self, *, traffic: Traffic) -> None:
        self.phase = RelayPhase.NEW
        self.up = 0
        """The number of bytes from near."""
        self.down = 0
        """The number of bytes to near."""
        self.failure: OpenFailure | None = None
        self.error: Exception | None = None
        self.tap: ExchangeTap | None = None
        self.write_paused = 0
        """Flags of `WritePause`: the reasons for not writing more to near. The stream is not read meanwhile."""
        self._traffic = traffic
        self._up_done = False
        self._down_done = False
        # Checks of the bytes that wait for near. A subclass turns them on.
        self._small_bytes = 0
        """A write smaller than this calls `_small_write` if other bytes wait."""
        self._waiting: Callable[[], int] = lambda: 0
        """Returns the number of bytes that wait for near."""
        self._look_at = sys.maxsize
        """After this number of bytes to near, `_look` is called. It sets the next number."""

    def join(self, near: NearT, dial: Callable[[Sink], Stream], tap: ExchangeTap | None = None) -> None:
        """Join both sides. `dial` may call `stream_refused` before it returns, and no other method."""
        self.tap = tap
        self.near = near
        self.phase = _RELAY
        self.stream = dial(self)

    # --- near

    def near_data(self, data: bytes) -> None:
        """Bytes have come from near. They are dropped once the stream is gone."""
        if self.phase is not _RELAY:
            return
        size = len(data)
        self.up += size
        self._traffic.up += size
        if self.tap is not None:
            self.tap.seen(Direction.UP, data)
        self.stream.write(data)

    def near_eof(self) -> None:
        """Near has sent end-of-file."""
        if self.phase is _RELAY:
            self._up_done = True
            self.stream.write_eof()

    def near_lost(self, error: Exception | None) -> None:
        """Near is gone, and the visit ends. `error` is None if it closed in good order."""
        if self.phase is _RELAY:
            if self._in_good_order(error):
                self.stream.close()
            else:
                self.stream.abort()
        self._end(error)

    def near_full(self) -> None:
        """Near's buffer is over its high-water mark."""
        self._pause_writes(_BUFFER_FULL)

    def near_drained(self) -> None:
        """Near's buffer has drained."""
        self._resume_writes(_BUFFER_FULL)

    # --- the tunnel's stream (ferry.streams.Sink)

    def stream_opened(self) -> None:
        """There is nothing to do: bytes that near has sent already are in the stream's buffer."""

    def stream_refused(self, failure: OpenFailure) -> None:
        self.failure = failure
        if self.phase is _RELAY:
            self._break(None)

    def data_received(self, data: bytes) -> None:
        if self.phase is not _RELAY:
            return
        size = len(data)
        self.down += size
        self._traffic.down += size
        if self.tap is not None:
            self.tap.seen(Direction.DOWN, data)
        self.near.write(data)
        if size < self._small_bytes and self._waiting():
            self._small_write()
        if self.down >= self._look_at:
            self._look()

    def eof_received(self) -> None:
        if self.phase is _RELAY:
            self._down_done = True
            self.near.write_eof()

    def stream_lost(self, error: Exception | None) -> None:
        if self.phase is not _RELAY:
            return
        if error is None:
            self._finish()
        else:
            self._break(error)

    def pause_writing(self) -> None:
        if self.phase is _RELAY:
            self.near.pause_reading()

    def resume_writing(self) -> None:
        if self.phase is _RELAY:
            self.near.resume_reading()

    # --- methods that another kind of near overrides

    def _in_good_order(self, error: Exception | None) -> bool:
        """Whether near has sent all its bytes, if it is lost with `error`."""
        return error is None

    def _finish(self) -> None:
        """The stream has closed in good order."""
        self.near.close()
        self._end(None)

    def _break(self, error: Exception | None) -> None:
        """The stream broke with `error`, or was refused (`error` is None)."""
        self.near.abort()
        self._end(error)

    def _small_write(self) -> None:
        """A write of fewer than `_small_bytes` went behind waiting bytes."""

    def _look(self) -> None:
        """The number of bytes to near has reached `_look_at`."""

    # --- back-pressure

    def _pause_writes(self, why: int) -> None:
        if not self.write_paused and self.phase is _RELAY:
            self.stream.pause_reading()
        self.write_paused |= why

    def _resume_writes(self, why: int) -> None:
        self.write_paused &= ~why
        if not self.write_paused and self.phase is _RELAY:
            self.stream.resume_reading()

    # --- ends

    def _stop(self, phase: RelayPhase) -> None:
        """Enter `phase`, and stop the timers of the phase before."""
        self.phase = phase

    def _end(self, error: Exception | None) -> None:
        """End the visit, unless it has ended before."""
        if self.phase is RelayPhase.ENDED:
            return
        if self.error is None:
            self.error = error
        self._stop(RelayPhase.ENDED)
        if self.tap is not None:
            self.tap.ended(self.error)
        self.ended()

    def ended(self) -> None:
        """The visit has ended. Called once."""
