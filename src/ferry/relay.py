"""The relay: raw bytes between who visits, the near side, and a stream of a tunnel, in both directions, until both end.

Who ends what, and what the other side then sees:

    near sends EOF                stream.write_eof(); the way down goes on
    stream sends EOF              near.write_eof(); the way up goes on
    near closes in good order     stream.close(), after what is buffered
    near breaks                   stream.abort(): the local service must not take half a message for a whole one
    stream closes in good order   near.close(), after what is buffered
    stream breaks                 near.abort(), for the same reason
    stream is refused             near.abort()

So two SSH channels are joined (`ssh/direct.py`). A socket needs more than that, and `edge/bridge.py` says what.

Nothing here is a task, a future or a copy. Back-pressure is the two buffers' own water marks: near that is full pauses
the stream, and the stream that is full pauses near. The end is told exactly once.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from .streams import Direction, ExchangeTap, OpenFailure, Sink, Stream
from .visits import Traffic


class Phase(enum.Enum):
    """Where a relay is."""

    NEW = "new"
    """Nothing is attached yet."""
    RELAY = "relay"
    """Both ends are attached; each direction is open or has had its EOF."""
    LINGER = "linger"
    """The stream is gone; near is read from and its bytes dropped."""
    CLOSING = "closing"
    """Everything is closed; what is buffered for near may still be on its way."""
    ENDED = "ended"


class Choke(enum.IntFlag):
    """Why nothing more is written to a visitor."""

    BUFFER_FULL = 1
    """Of its transport, or its channel."""
    UNSENT = 2
    """Its kernel buffer has much that is not sent."""


# Members as plain globals: looking one up on its class for every chunk is slower.
_RELAY: Final = Phase.RELAY
_BUFFER_FULL: Final = int(Choke.BUFFER_FULL)


class Near(Protocol):
    """What visitors are written to: an `asyncio.Transport`, or an SSH channel. As the methods of `Stream`."""

    def write(self, data: bytes, /) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


NearT = TypeVar("NearT", bound=Near)


class Relay(Generic[NearT]):
    """One visit. The object itself is the stream's sink; whoever listens to near calls `near_…`.

    It is over with the first side that closes or breaks: a channel closes once its peer has taken the rest, and where a
    peer never does (`ssh/wire/endings.py`), nobody is told of that.

    Bytes, ends of file and the stream's end do nothing but in `Phase.RELAY`: what comes late is dropped.
    """

    near: NearT
    stream: Stream

    def __init__(self, *, traffic: Traffic, tap: ExchangeTap | None = None) -> None:
        self.phase = Phase.NEW
        self.up = 0
        """Bytes from near."""
        self.down = 0
        """Bytes to near."""
        self.failure: OpenFailure | None = None
        self.error: Exception | None = None
        self.tap = tap
        self.choked = 0
        """Why the stream is not read, as `Choke`."""
        self._traffic = traffic
        self._up_done = False
        self._down_done = False
        # Where somebody looks at what waits for near. Nobody does, unless a subclass says so.
        self._small_bytes = 0
        """Writes smaller than that are told to `_small_write` when others wait."""
        self._waiting: Callable[[], int] = lambda: 0
        """How many bytes do."""
        self._look_at = sys.maxsize
        """Once so much has gone down, `_look` is called, and moves it on."""

    def join(self, near: NearT, dial: Callable[[Sink], Stream]) -> None:
        """Attach both ends. `dial` may call `stream_refused` before it returns, nothing else."""
        self.near = near
        self.phase = _RELAY
        self.stream = dial(self)

    # --- near

    def near_data(self, data: bytes) -> None:
        """Bytes from near; dropped once the stream is gone."""
        if self.phase is not _RELAY:
            return
        size = len(data)
        self.up += size
        self._traffic.up += size
        if self.tap is not None:
            self.tap.seen(Direction.UP, data)
        self.stream.write(data)

    def near_eof(self) -> None:
        """Near will send no more."""
        if self.phase is _RELAY:
            self._up_done = True
            self.stream.write_eof()

    def near_lost(self, error: Exception | None) -> None:
        """Near is gone, and with it the visit. `error` is None where it closed in good order."""
        if self.phase is _RELAY:
            if self._in_good_order(error):
                self.stream.close()
            else:
                self.stream.abort()
        self._end(error)

    def near_full(self) -> None:
        """Near takes less than the tunnel sends."""
        self._choke(_BUFFER_FULL)

    def near_drained(self) -> None:
        """It has caught up."""
        self._unchoke(_BUFFER_FULL)

    # --- the tunnel's stream (ferry.streams.Sink)

    def stream_opened(self) -> None:
        """Nothing waits for this: what near has sent meanwhile is in the stream's buffer."""

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

    # --- what another near needs otherwise

    def _in_good_order(self, error: Exception | None) -> bool:
        """Whether near has sent all that it wanted to, when its loss is told with `error`."""
        return error is None

    def _finish(self) -> None:
        """The stream has closed in good order."""
        self.near.close()
        self._end(None)

    def _break(self, error: Exception | None) -> None:
        """The stream broke; or it was refused, and `error` is None."""
        self.near.abort()
        self._end(error)

    def _small_write(self) -> None:
        """Less than `_small_bytes` were written, behind others that wait."""

    def _look(self) -> None:
        """`_look_at` is reached."""

    # --- back-pressure

    def _choke(self, why: int) -> None:
        if not self.choked and self.phase is _RELAY:
            self.stream.pause_reading()
        self.choked |= why

    def _unchoke(self, why: int) -> None:
        self.choked &= ~why
        if not self.choked and self.phase is _RELAY:
            self.stream.resume_reading()

    # --- ends

    def _stop(self, phase: Phase) -> None:
        """Go on to `phase`, and leave nothing running that belongs to the one before."""
        self.phase = phase

    def _end(self, error: Exception | None) -> None:
        """The visit is over, unless it was before."""
        if self.phase is Phase.ENDED:
            return
        if self.error is None:
            self.error = error
        self._stop(Phase.ENDED)
        if self.tap is not None:
            self.tap.ended(self.error)
        self.ended()

    def ended(self) -> None:
        """Called once, at the end of the visit."""
