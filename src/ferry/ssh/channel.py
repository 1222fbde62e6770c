"""Our own data channel (RFC 4254 §5) beneath asyncssh's connection: a `Stream` with bounds on both sides.

asyncssh's generic channel opens by a task and a future, copies each chunk three times and has no way to be abandoned
while it opens: visitors who left in that moment left a channel open for ever (ronf/asyncssh#823). This one is a plain
object with callbacks; `abort()` is right at any moment, and the number is not reused before the peer has closed too.

Sending obeys three brakes: the peer's window, the peer's packet size, and the connection (its socket, or a key
exchange in progress). What cannot be sent waits here, and past HIGH_WATER_BYTES the sink is asked to pause. The
connection wakes waiting channels in turn, one packet each, so that a bulk stream cannot starve the others.
"""

from __future__ import annotations

import enum
from collections import deque
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.misc import ChannelOpenError, ProtocolError
from asyncssh.packet import SSHPacket, String, UInt32

from ferry import limits
from ferry.streams import OpenFailure, Sink

if TYPE_CHECKING:
    from .hardening import HardenedConnection


_CONFIRMED: Final = Struct(">III")  # the peer's channel, its window, its largest packet (RFC 4254 §5.1)


class _State(enum.Enum):
    OPENING = "opening"
    OPEN = "open"
    ABANDONED = "abandoned"
    """We lost interest while it opened; to be closed as soon as the peer confirms."""
    CLOSED = "closed"


class ChannelOwner(Protocol):
    """The tunnel that a channel belongs to: told about every channel's end, beside its sink."""

    def channel_answered(self, channel: TunnelChannel, opened: bool) -> None:
        """The peer confirmed the open, or refused it."""
        ...

    def channel_gone(self, channel: TunnelChannel) -> None:
        """The channel is closed on both sides, or its connection is."""
        ...


class TunnelChannel:
    """One channel. Created by `open_channel` (we ask) or for an incoming open, which `accept` or `reject` answers."""

    __slots__ = (
        "_close_after_flush",
        "_connection",
        "_eof_after_flush",
        "_eof_delivered",
        "_granted",
        "_number",
        "_own_window",
        "_owner",
        "_peer_number",
        "_peer_packet",
        "_peer_window",
        "_queue",
        "_queued",
        "_reading_paused",
        "_received",
        "_received_eof",
        "_sent_close",
        "_sent_eof",
        "_sink",
        "_sink_paused",
        "_state",
        "_used",
        "waiting",
    )

    def __init__(self, connection: HardenedConnection, sink: Sink | None, owner: ChannelOwner | None = None) -> None:
        self._connection = connection
        self._owner = owner
        self._sink = sink
        self._state = _State.OPENING
        # outgoing
        self._peer_number = 0
        self._peer_window = 0
        self._peer_packet = 0
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._sink_paused = False
        self._eof_after_flush = self._sent_eof = False
        self._close_after_flush = self._sent_close = False
        self.waiting = False
        """In the connection's round of channels that have something to send (kept by the connection)."""
        # incoming
        self._own_window = self._granted = connection.channel_window
        """What the peer may still send; the same with what has come and was not granted anew."""
        self._used = 0
        """What has come and was taken, since the last grant."""
        self._reading_paused = False
        self._received: deque[bytes] = deque()
        self._received_eof = self._eof_delivered = False
        self._number: int = connection.add_channel(self)  # asyncssh keeps only the calls below

    # --- opening

    def request_open(self, channel_type: bytes, *args: bytes) -> None:
        """Ask the peer to open (RFC 4254 §5.1)."""
        self._connection.send_packet(
            MSG_CHANNEL_OPEN,
            String(channel_type),
            UInt32(self._number),
            UInt32(self._own_window),
            UInt32(limits.CHANNEL_PACKET_BYTES),
            *args,
        )

    def process_open_confirmation(self, number: int, window: int, packet_size: int, _packet: SSHPacket | None) -> None:
        """The peer has confirmed our open."""
        self._check_answer()
        self._know_peer(number, window, packet_size)
        if self._owner is not None:
            self._owner.channel_answered(self, opened=True)
        if self._state is _State.ABANDONED:
            self._send_close()
            return
        self._state = _State.OPEN
        if self._sink is not None:
            self._sink.stream_opened()
        self.flush()

    def process_open_failure(self, _code: int, _reason: str, _lang: str) -> None:
        """The peer has refused our open: nothing answers at the local target."""
        self._check_answer()
        if self._owner is not None:
            self._owner.channel_answered(self, opened=False)
        sink = self._forget()
        if sink is not None:
            sink.stream_refused(OpenFailure.REFUSED)

    def _check_answer(self) -> None:
        """Each open is answered once, by whoever was asked (RFC 4254 §5.1)."""
        unanswered = self._state in (_State.OPENING, _State.ABANDONED) and not self._sent_close
        if self._owner is None or not unanswered:
            raise ProtocolError("Answer to a channel open that was not asked for")

    def process_open(self, number: int, window: int, packet_size: int, _session: object) -> None:
        """The peer asked to open (asyncssh calls this after our handler returned the channel)."""
        self._know_peer(number, window, packet_size)

    def _know_peer(self, number: int, window: int, packet_size: int) -> None:
        """Larger packets than CHANNEL_PACKET_BYTES are never sent, whatever the peer takes: each is what others wait for."""
        self._peer_number, self._peer_window = number, window
        self._peer_packet = min(packet_size, limits.CHANNEL_PACKET_BYTES)

    def watch_opening(self, sink: Sink) -> None:
        """Tell `sink` (by `stream_refused`) should the connection go before an incoming open is answered."""
        self._sink = sink

    def accept(self, sink: Sink) -> None:
        """Confirm an incoming open."""
        if self._state is not _State.OPENING:
            return
        self._sink = sink
        self._state = _State.OPEN
        self._connection.send_channel_open_confirmation(
            self._peer_number, self._number, self._own_window, limits.CHANNEL_PACKET_BYTES
        )
        self.flush()

    def reject(self, error: ChannelOpenError) -> None:
        """Refuse an incoming open."""
        if self._state is not _State.OPENING:
            return
        self._connection.send_channel_open_failure(self._peer_number, error.code, error.reason, error.lang)
        self._forget()

    def give_up(self) -> None:
        """The peer has not answered our open in time."""
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.stream_refused(OpenFailure.TIMEOUT)

    def cut(self, error: Exception) -> None:
        """Close both directions now and tell the sink: the tunnel is being taken away."""
        sink = self._sink
        opening = self._state is _State.OPENING
        self.abort()
        if sink is not None:
            if opening:
                sink.stream_refused(OpenFailure.GONE)
            else:
                sink.stream_lost(error)

    # --- Stream

    def write(self, data: bytes) -> None:
        if self._state is _State.CLOSED or self._eof_after_flush or self._close_after_flush:
            return
        size = len(data)
        if (
            not self._queue
            and self._state is _State.OPEN
            and size <= self._peer_packet
            and size <= self._peer_window
            and self._connection.may_send
        ):
            self._peer_window -= size
            self._connection.send_data(self._peer_number, data)
            return
        self._queue.append(data)
        self._queued += size
        self.flush()
        if self._queued > limits.HIGH_WATER_BYTES and not self._sink_paused and self._sink is not None:
            self._sink_paused = True
            self._sink.pause_writing()

    def write_eof(self) -> None:
        if self._state in (_State.OPENING, _State.OPEN) and not self._eof_after_flush and not self._close_after_flush:
            self._eof_after_flush = True
            self.flush()

    def close(self) -> None:
        if self._state is _State.OPENING:
            if not self._queue:
                self.abort()
                return
        elif self._state is not _State.OPEN:
            return
        self._close_after_flush = True
        self._received.clear()
        self.flush()

    def abort(self) -> None:
        self._sink = None
        self._close_after_flush = True
        if self._state is _State.OPENING:
            self._state = _State.ABANDONED
            self._drop_queue()
        elif self._state is _State.OPEN:
            self._drop_queue()
            self._received.clear()
            self._send_close()

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if not self._reading_paused:
            return
        self._reading_paused = False
        while self._received and not self._reading_paused and self._sink is not None:
            self._deliver(self._received.popleft())
        if self._received_eof and not self._received and not self._reading_paused:
            self._deliver_eof()

    # --- sending

    def flush(self) -> bool:
        """Send as much as the brakes allow. True when more could be sent at once but for fairness or the socket."""
        while self.send_one():
            if not self._connection.may_send:
                break
        if self.sendable and not self.waiting:
            self._connection.await_turn(self)
        return self.sendable

    @property
    def sendable(self) -> bool:
        """Whether there is something to send that the peer would take: an end of file or a close needs no window."""
        if self._state is not _State.OPEN:
            return False
        if self._queue:
            return self._peer_window > 0
        return (self._eof_after_flush and not self._sent_eof) or (self._close_after_flush and not self._sent_close)

    def send_one(self) -> bool:
        """Send one packet, and whatever closes the stream behind the last. True if more data can follow."""
        if self._state is not _State.OPEN or not self._connection.may_send:
            return False
        if self._queue:
            room = min(self._peer_window, self._peer_packet)
            if room <= 0:
                return False
            data = self._queue.popleft()
            if len(data) > room:
                view = memoryview(data)
                self._queue.appendleft(view[room:])
                data = view[:room]
            size = len(data)
            self._queued -= size
            self._peer_window -= size
            self._connection.send_data(self._peer_number, data)
            if self._sink_paused and self._queued <= limits.LOW_WATER_BYTES and self._sink is not None:
                self._sink_paused = False
                self._sink.resume_writing()
        if not self._queue:
            if self._eof_after_flush and not self._sent_eof and not self._sent_close:
                self._sent_eof = True
                self._connection.send_packet(MSG_CHANNEL_EOF, UInt32(self._peer_number))
            if self._close_after_flush:
                self._send_close()
            return False
        return self._peer_window > 0

    def _send_close(self) -> None:
        if not self._sent_close:
            self._sent_close = True
            self._connection.send_packet(MSG_CHANNEL_CLOSE, UInt32(self._peer_number))

    def _drop_queue(self) -> None:
        self._queue.clear()
        self._queued = 0

    # --- receiving

    def process_packet(self, packet_type: int, _sequence: int, packet: SSHPacket) -> bool:
        """One channel message (asyncssh has read the channel number). True if it is known."""
        if packet_type == MSG_CHANNEL_DATA:
            self.received(packet.get_string())
        elif packet_type == MSG_CHANNEL_WINDOW_ADJUST:
            self._adjusted(packet.get_uint32())
        elif packet_type == MSG_CHANNEL_EOF:
            self._on_eof()
        elif packet_type == MSG_CHANNEL_CLOSE:
            self._on_close()
        elif packet_type == MSG_CHANNEL_EXTENDED_DATA:
            packet.get_uint32()  # no type is defined for forwarded connections: counted against the window, dropped
            size = len(packet.get_string())
            self._own_window -= size
            self._consumed(size)
        elif packet_type == MSG_CHANNEL_REQUEST:
            packet.get_string()
            if packet.get_boolean() and not self._sent_close:
                self._connection.send_packet(MSG_CHANNEL_FAILURE, UInt32(self._peer_number))
        return True

    def told(self, packet_type: int, body: bytes) -> bool:
        """One message whose packet nobody has taken apart; `body` follows the channel number. False, and nothing was
        done, if it is none of the usual ones: `process_packet` and asyncssh know the others."""
        if packet_type == MSG_CHANNEL_WINDOW_ADJUST and len(body) == 4:
            self._adjusted(int.from_bytes(body, "big"))
        elif packet_type == MSG_CHANNEL_EOF and not body:
            self._on_eof()
        elif packet_type == MSG_CHANNEL_CLOSE and not body:
            self._on_close()
        elif packet_type == MSG_CHANNEL_OPEN_CONFIRMATION and len(body) == 12:
            number, window, packet_size = _CONFIRMED.unpack(body)
            if packet_size == 0:
                return False
            self.process_open_confirmation(number, window, packet_size, None)
        else:
            return False
        return True

    def _adjusted(self, size: int) -> None:
        self._peer_window += size
        if self._peer_window > 0xFFFFFFFF:  # RFC 4254 §5.2: MUST NOT be increased above 2^32 - 1
            raise ProtocolError("Window overflow")
        self.flush()

    def log_received_packet(self, *_args: object) -> None:
        """The packet trace of asyncssh: off on the data path."""

    log_sent_packet = log_received_packet

    def received(self, data: bytes) -> None:
        """One SSH_MSG_CHANNEL_DATA."""
        size = len(data)
        if self._state is _State.OPENING or size > self._own_window:
            raise ProtocolError("Data beyond the window of a channel")
        self._own_window -= size
        if self._sink is None or self._close_after_flush or self._received_eof:
            self._consumed(size)  # nobody wants it: dropped, and the window returned so that the peer's close comes
        elif not data:
            return  # a sink is never given nothing
        elif self._reading_paused or self._received:
            self._received.append(data)
        else:
            self._deliver(data)

    def _deliver(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.data_received(data)
        self._consumed(len(data))

    def _consumed(self, size: int) -> None:
        """Return window to the peer in halves: an adjust for each packet would double the packets. It is returned up to
        what the connection's windows are by now: less than was used where they have become smaller, more where they
        have become larger. Half of what the peer has been granted is waited for, if that is less: it cannot send more.
        """
        self._used += size
        window = self._connection.channel_window
        if self._used < min(window, self._granted) // 2 or self._state is _State.CLOSED or self._sent_close:
            return
        grant = window - (self._granted - self._used)
        if grant > 0:
            self._connection.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(self._peer_number), UInt32(grant))
            self._own_window += grant
            self._granted += grant - self._used
            self._used = 0

    def _on_eof(self) -> None:
        self._received_eof = True
        if not self._received and not self._reading_paused:
            self._deliver_eof()

    def _deliver_eof(self) -> None:
        if self._sink is not None and not self._eof_delivered:
            self._eof_delivered = True
            self._sink.eof_received()

    def _on_close(self) -> None:
        """The peer has closed both directions; what it sent before is still delivered."""
        held, self._received = self._received, deque()
        self._reading_paused = False
        self._send_close()
        if self._sink is not None:
            for data in held:
                self._sink.data_received(data)
        if self._received_eof:
            self._deliver_eof()
        sink = self._forget()
        if sink is not None:
            sink.stream_lost(None)

    def process_connection_close(self, error: Exception | None) -> None:
        """The whole SSH connection is gone."""
        opening = self._state is _State.OPENING
        sink = self._forget()
        if sink is None:
            return
        if opening:
            sink.stream_refused(OpenFailure.GONE)
        else:
            sink.stream_lost(error or ConnectionResetError("the SSH connection closed"))

    def _forget(self) -> Sink | None:
        """Leave the connection. Returns the sink that is to be told, if it still wants to know."""
        sink, self._sink = self._sink, None
        if self._state is not _State.CLOSED:
            self._state = _State.CLOSED
            self._drop_queue()
            self._received.clear()
            self._connection.remove_channel(self._number)
            if self._owner is not None:
                self._owner.channel_gone(self)
        return sink
