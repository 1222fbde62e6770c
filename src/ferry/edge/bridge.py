"""The bridge: a relay whose near side is a visitor's socket, over TLS or not.

It handles these events of a socket, in addition to those of `ferry.relay`:

    both sides have sent EOF      close both after their buffered bytes: neither closes by itself
    visitor closes without EOF    stream.abort(): a connection that ends before its FIN is broken
    visitor resets                stream.abort(), also while reading from the visitor is paused (`Unwatched`)
    stream lost with an error     RST to the visitor, so that it cannot take half an answer for a whole one
    stream closed in good order   FIN to the visitor. Its bytes are read and dropped for a moment: an immediate close
                                  would reset the connection and destroy the answer on its way (RFC 9112 §9.6)
    stream refused                RST, as from a closed port
    visitor over TLS sends EOF    close the stream after its buffered bytes: asyncio's TLS cannot half-close

The bridge ends with the visitor's last event (`connection_lost`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from ferry import limits
from ferry.relay import Relay, RelayPhase
from ferry.streams import ExchangeTap, Sink, Stream
from ferry.visits import Traffic

from .reset import reset
from .unsent import Unsent
from .unwatched import Unwatched


class BridgeOwner(Protocol):
    """The owner of bridges, which counts their visitors."""

    def connected(self, bridge: Bridge, transport: asyncio.Transport, /) -> None:
        """A server has made the visitor's connection: call `join`, or close the transport."""
        ...

    def ended(self, bridge: Bridge, /) -> None:
        """The visitor is gone. Called once."""
        ...

    def __len__(self) -> int:
        """The number of visitors of the tunnel now."""
        ...


class VisitorSide(asyncio.Protocol):
    """The protocol that asyncio calls. It is a class of its own because protocols and sinks share method names."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._bridge.visitor_connected(cast(asyncio.Transport, transport))  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        self._bridge.near_data(data)

    def eof_received(self) -> bool:
        bridge = self._bridge
        bridge.near_eof()
        return bridge.phase is RelayPhase.RELAY and bridge.near.can_write_eof()  # False: close after the buffered bytes

    def connection_lost(self, exc: Exception | None) -> None:
        self._bridge.near_lost(exc)

    def pause_writing(self) -> None:
        self._bridge.near_full()

    def resume_writing(self) -> None:
        self._bridge.near_drained()


class Bridge(Relay[asyncio.Transport]):
    """One visit. `near` is the visitor's transport. A server whose factory returns `protocol()` makes the connection."""

    def __init__(self, *, traffic: Traffic, owner: BridgeOwner) -> None:
        super().__init__(traffic=traffic)
        self._owner = owner
        self._small_bytes = limits.SMALL_WRITE_BYTES
        self._look_at = limits.VISITOR_UNSENT_LEAST_BYTES
        self._unsent: Unsent | None = None
        self._small = 0  # small writes behind waiting bytes, since the buffer was last empty
        self._linger: asyncio.TimerHandle | None = None
        self._read_paused = False
        self._unwatched: Unwatched | None = None  # from the first pause of reading on

    def protocol(self) -> VisitorSide:
        """The protocol of the visitor's transport. Call this once. The bridge does not keep it: if each held the other,
        only the cycle collector would free them."""
        return VisitorSide(self)

    def join(self, near: asyncio.Transport, dial: Callable[[Sink], Stream], tap: ExchangeTap | None = None) -> None:
        near.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        self._waiting = near.get_write_buffer_size
        super().join(near, dial, tap)
        if near.get_write_buffer_size() > limits.VISITOR_HIGH_WATER_BYTES:
            self.near_full()  # the transport's former protocol has filled the buffer, and got the only call about it

    def cut(self, error: Exception | None = None) -> None:
        """End both sides now and drop all buffered bytes."""
        if self.phase is RelayPhase.RELAY:
            self.error = error
            self._stop(RelayPhase.CLOSING)
            self.stream.abort()
        if self.phase is not RelayPhase.ENDED:
            reset(self.near)

    # --- the visitor's transport

    def visitor_connected(self, transport: asyncio.Transport) -> None:
        """A server has made the connection."""
        self.near = transport
        self._owner.connected(self, transport)

    def near_eof(self) -> None:
        super().near_eof()
        if self.phase is not RelayPhase.RELAY:
            return
        if self._down_done:
            self._stop(RelayPhase.CLOSING)
            self.stream.close()
        else:
            self._watch()

    def near_drained(self) -> None:
        if self._small:
            self._small = 0
            self.near.set_write_buffer_limits(limits.VISITOR_HIGH_WATER_BYTES, limits.VISITOR_LOW_WATER_BYTES)
        super().near_drained()

    def _in_good_order(self, error: Exception | None) -> bool:
        return error is None and self._up_done

    def _small_write(self) -> None:
        self._small += 1
        if self._small == limits.SMALL_WRITES:
            self.near.set_write_buffer_limits(0)  # the transport pauses us at once, and resumes us when it is empty

    def _look(self) -> None:
        if self._unsent is None:
            self._unsent = Unsent(self.near, self._pause_writes, self._resume_writes)
        self._look_at = self.down + self._unsent.look(len(self._owner))

    # --- the tunnel's stream (ferry.streams.Sink)

    def eof_received(self) -> None:
        if self.phase is RelayPhase.RELAY and self._answer_ends_visit():
            self._stop(RelayPhase.CLOSING)
            self.stream.close()
            self.near.close()
        else:
            super().eof_received()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.phase is RelayPhase.RELAY:
            self._read_paused = True
            self._watch()

    def resume_writing(self) -> None:
        self._read_paused = False
        super().resume_writing()

    def _finish(self) -> None:
        if self._answer_ends_visit():
            self._stop(RelayPhase.CLOSING)
            self.near.close()
        else:
            self._stop(RelayPhase.LINGER)
            if not self._down_done:
                self.near.write_eof()
            self.near.resume_reading()
            self._linger = asyncio.get_running_loop().call_later(limits.LINGER_SECONDS, self._linger_over)

    def _break(self, error: Exception | None) -> None:
        self.error = error
        self._stop(RelayPhase.CLOSING)
        reset(self.near)

    def _answer_ends_visit(self) -> bool:
        """Whether the visit ends with the last byte for the visitor."""
        return self._up_done or not self.near.can_write_eof()

    # --- while the loop does not read from the visitor

    def _watch(self) -> None:
        if self._unwatched is None:
            self._unwatched = Unwatched(self.near, self._unread, self.cut)
        self._unwatched.watch()

    def _unread(self) -> bool:
        return self._read_paused or self._up_done

    # --- ends

    def _stop(self, phase: RelayPhase) -> None:
        super()._stop(phase)
        if self._unsent is not None:
            self._unsent.forget()
        if self._unwatched is not None:
            self._unwatched.forget()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def ended(self) -> None:
        self._owner.ended(self)

    def _linger_over(self) -> None:
        self._stop(RelayPhase.CLOSING)
        self.near.close()
