"""Our own data channel (RFC 4254 §5) on asyncssh's connection: a `Stream` with bounds on both sides.

asyncssh's generic channel opens by a task and a future, copies each chunk three times, and cannot be abandoned while it
opens: a visitor that left in that moment left a channel open for ever (ronf/asyncssh#823). This channel is a plain
object with callbacks. `abort()` is legal at any moment, and the number is not reused before the peer has closed too.

Four brakes limit sending: the peer's window, the peer's packet size, the connection (its socket, or a key exchange in
progress), and the number of packets that a connection may send in one turn of the loop. Bytes that cannot be sent wait
here; past HIGH_WATER_BYTES the channel pauses the sink. The connection wakes waiting channels in turn, for one packet
each, so that a bulk stream cannot starve the others.

An error in a sink ends its channel and nothing else: `_tell` and `_deliver` make all calls to a sink. A sink may abort
its channel within any call, so the state must be checked again after it.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

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
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_CONNECT_FAILED,
)
from asyncssh.misc import ChannelOpenError, ProtocolError
from asyncssh.packet import SSHPacket, String, UInt32

from ferry import limits
from ferry.streams import OpenFailure, Sink

from .channel_state import ChannelOwner, ChannelTransport, State
from .pieces import Pieces

_CONFIRMED: Final = Struct(">III")  # the peer's channel, its window, its largest packet (RFC 4254 §5.1)


# Members as plain globals: a look-up on the class for each packet is slower.
_NEW, _OPENING, _ABANDONED, _ASKED, _OPEN, _CLOSING, _CLOSED = State
_BEYOND_WINDOW: Final = "Data beyond the window of a channel"
_UNOPENED: Final = (_NEW, _OPENING, _ASKED)


class TunnelChannel:
    """One channel. Either `request_open` asks the peer to open it, or the peer asks (`process_open`) and `accept` or
    `reject` answers. Until then it is new: it buffers written bytes, within the bound."""

    __slots__ = (
        "_close_after_flush",
        "_connection",
        "_eof_after_flush",
        "_eof_delivered",
        "_granted",
        "_number",
        "_over",
        "_own_window",
        "_owner",
        "_peer_number",
        "_peer_packet",
        "_peer_window",
        "_queue",
        "_read_paused",
        "_received",
        "_received_eof",
        "_sent_eof",
        "_sink",
        "_used",
        "_write_paused",
        "state",
        "waiting",
    )

    def __init__(self, connection: ChannelTransport, sink: Sink | None, owner: ChannelOwner | None = None) -> None:
        self._connection = connection
        self._owner = owner
        self._sink = sink
        self.state = _NEW
        self._number: int | None = None
        # outgoing
        self._peer_number = 0
        self._peer_window = 0
        self._peer_packet = 0
        self._queue = Pieces()
        self._write_paused = False
        self._over = False
        """The channel takes no more bytes from our side."""
        self._eof_after_flush = self._sent_eof = False
        self._close_after_flush = False
        self.waiting = False
        """The channel waits in the connection's round of channels with bytes to send (set by the connection)."""
        # incoming
        self._own_window = 0
        """Bytes that the peer may still send: none until the channel is open."""
        self._granted = 0
        """The same, plus the received bytes that have not been granted again."""
        self._used = 0
        """Bytes that the sink has taken since the last grant."""
        self._read_paused = False
        self._received = Pieces()
        self._received_eof = self._eof_delivered = False

    # --- opening

    def request_open(self, channel_type: bytes, *args: bytes) -> None:
        """Ask the peer to open (RFC 4254 §5.1). Raises ChannelOpenError if the connection is gone."""
        self._number = self._connection.add_channel(self)  # asyncssh calls the methods named `process_…`
        self.state = _OPENING
        self._granted = self._connection.channel_window
        self._connection.send_packet(
            MSG_CHANNEL_OPEN,
            String(channel_type),
            UInt32(self._number),
            UInt32(self._granted),
            UInt32(limits.CHANNEL_PACKET_BYTES),
            *args,
        )

    def process_open_confirmation(self, number: int, window: int, packet_size: int, _packet: SSHPacket | None) -> None:
        """The peer has confirmed our open."""
        self._check_answer()
        self._know_peer(number, window, packet_size)
        self.state = _OPEN
        self._own_window = self._granted
        if packet_size < limits.LEAST_PACKET_BYTES:
            if self._owner is not None:
                self._owner.channel_unfit(self, packet_size)
            self.refuse(OpenFailure.REFUSED)
            return
        if self._owner is not None:
            self._owner.channel_answered(self, opened=True)
        if self._sink is not None:
            self._tell(self._sink.stream_opened)
        self.flush()  # an abandoned channel sends its close

    def process_open_failure(self, _code: int, _reason: str, _lang: str) -> None:
        """The peer has refused our open, because the local service cannot be reached."""
        self._check_answer()
        if self._owner is not None:
            self._owner.channel_answered(self, opened=False)
        sink = self._forget()
        if sink is not None:
            self._tell(sink.stream_refused, OpenFailure.REFUSED)

    def _check_answer(self) -> None:
        """Raise ProtocolError unless this answers an open of ours, which is answered once (RFC 4254 §5.1)."""
        if self.state is not _OPENING and self.state is not _ABANDONED:
            raise ProtocolError("Answer to a channel open that was not sent")

    def process_open(self, number: int, window: int, packet_size: int, _session: object) -> None:
        """The peer asked to open (asyncssh calls this after our handler returned the channel)."""
        self._number = self._connection.add_channel(self)
        self.state = _ASKED
        self._know_peer(number, window, packet_size)

    def _know_peer(self, number: int, window: int, packet_size: int) -> None:
        """Remember the peer's number and bounds. We never send packets above CHANNEL_PACKET_BYTES, even if the peer
        would take them, because other channels wait for each packet."""
        self._peer_number, self._peer_window = number, window
        self._peer_packet = min(packet_size, limits.CHANNEL_PACKET_BYTES)

    def watch_opening(self, sink: Sink) -> None:
        """Call `stream_refused` of `sink` if the connection ends before an incoming open is answered."""
        self._sink = sink

    def accept(self, sink: Sink) -> None:
        """Confirm an incoming open."""
        if self.state is not _ASKED:
            return
        self._sink = sink
        self.state = _OPEN
        self._granted = self._own_window = self._connection.channel_window
        assert self._number is not None
        self._connection.send_channel_open_confirmation(
            self._peer_number, self._number, self._granted, limits.CHANNEL_PACKET_BYTES
        )
        self.flush()

    def reject(self, error: ChannelOpenError) -> None:
        """Refuse an incoming open."""
        if self.state is not _ASKED:
            return
        self._connection.send_channel_open_failure(self._peer_number, error.code, error.reason, error.lang)
        self._forget()

    def refuse(self, failure: OpenFailure) -> None:
        """Abort, and tell the sink that there will be no stream: the peer does not answer, or a new channel is
        dropped. A sink that has aborted gets no call."""
        sink = self._sink
        self.abort()
        if sink is not None:
            self._tell(sink.stream_refused, failure)

    def cut(self, error: Exception) -> None:
        """Close both directions now and tell the sink: the tunnel ends, or what the peer has asked for is not allowed any
        more. A peer whose open is not answered yet gets `error` as the answer."""
        if self.state in (_NEW, _OPENING):
            self.refuse(OpenFailure.GONE)
            return
        sink = self._sink
        self.reject(ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, str(error)))
        self.abort()
        if sink is not None:
            self._tell(sink.stream_lost, error)

    # --- telling the sink

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        """Call the sink. An error in it ends this channel only."""
        try:
            call(*args)
        except Exception as error:
            self._sink_failed(error)

    def _deliver(self, data: bytes) -> None:
        """Give the sink data, and return the window to the peer."""
        if self._sink is not None:
            try:
                self._sink.data_received(data)
            except Exception as error:
                self._sink_failed(error)
        self._consumed(len(data))

    def _sink_failed(self, error: Exception) -> None:
        """The sink has raised: end this channel, as if it broke, and nothing else."""
        self._connection.sink_failed(error)
        sink = self._sink
        self.abort()
        if sink is not None:  # the sink does not know of an end yet
            self._tell(sink.stream_lost, error)

    # --- Stream

    def write(self, data: bytes) -> None:
        if self._over or not data:  # an empty packet would have an end-of-file wait behind it for a window
            return
        size = len(data)
        if (
            not self._queue
            and self.state is _OPEN
            and size <= self._peer_packet
            and size <= self._peer_window
            and self._connection.may_send
        ):
            self._peer_window -= size
            self._connection.send_data(self._peer_number, data)
            return
        self._queue.add(data)
        self.flush()
        if self._queue.size > limits.HIGH_WATER_BYTES and not self._write_paused and self._sink is not None:
            self._write_paused = True
            self._tell(self._sink.pause_writing)

    def write_eof(self) -> None:
        if not self._over:
            self._over = self._eof_after_flush = True
            self.flush()

    def close(self) -> None:
        if self.state in _UNOPENED and not self._queue:
            self.abort()
        elif not self._close_after_flush:
            self._over = self._close_after_flush = True
            unread = self._received.size
            self._received.clear()
            self.flush()
            if self.state not in (_CLOSING, _CLOSED):
                self._consumed(unread)  # a target may write all before it reads: without a window both would wait
                self._connection.await_end(self, self._queue)

    def abort(self) -> None:
        self._sink = None
        self._over = self._close_after_flush = True
        self._queue.clear()
        self._received.clear()
        if self.state is _NEW:
            self._forget()
        elif self.state is _OPENING:
            self.state = _ABANDONED
        elif self.state is _ASKED:
            self.reject(ChannelOpenError(OPEN_CONNECT_FAILED, "the connection closed before it was open"))
        elif self.state is _OPEN:
            self._send_close()

    def pause_reading(self) -> None:
        self._read_paused = True

    def resume_reading(self) -> None:
        if not self._read_paused:
            return
        self._read_paused = False
        while self._received and not self._read_paused:
            self._deliver(bytes(self._received.take(limits.CHANNEL_PACKET_BYTES)))
        self._deliver_eof()

    # --- sending

    def flush(self) -> None:
        """Send as much as the brakes allow. If the connection takes no more now, wait for a turn."""
        if self.waiting:
            return
        while self.send_one():
            pass
        if self.sendable:
            self._connection.await_turn(self)

    @property
    def sendable(self) -> bool:
        """Whether there is something to send that the peer takes. An end-of-file and a close need no window."""
        if self.state is not _OPEN:
            return False
        if self._queue:
            return self._peer_window > 0
        return self._close_after_flush or (self._eof_after_flush and not self._sent_eof)

    def send_one(self) -> bool:
        """Send one packet, and after the last one an end-of-file or a close. True if more data can follow."""
        if self.state is not _OPEN or not self._connection.may_send:
            return False
        if self._queue:
            room = min(self._peer_window, self._peer_packet)
            if room <= 0:
                return False
            data = self._queue.take(room)
            self._peer_window -= len(data)
            self._connection.send_data(self._peer_number, data)
            if self._write_paused and self._queue.size <= limits.LOW_WATER_BYTES and self._sink is not None:
                self._write_paused = False
                self._tell(self._sink.resume_writing)
        if self._queue:
            return self._peer_window > 0
        if self.state is _OPEN:
            if self._eof_after_flush and not self._sent_eof:
                self._sent_eof = True
                self._connection.send_packet(MSG_CHANNEL_EOF, UInt32(self._peer_number))
            if self._close_after_flush:
                self._send_close()
        return False

    def _send_close(self) -> None:
        self._over = True
        self.state = _CLOSING
        self._connection.send_packet(MSG_CHANNEL_CLOSE, UInt32(self._peer_number))

    # --- receiving

    def process_packet(self, packet_type: int, _sequence: int, packet: SSHPacket) -> bool:
        """Handle one channel message (asyncssh has read the channel number). True if it is known."""
        if packet_type == MSG_CHANNEL_DATA:
            self.received(packet.get_string())
        elif packet_type == MSG_CHANNEL_WINDOW_ADJUST:
            self._adjusted(packet.get_uint32())
        elif packet_type == MSG_CHANNEL_EOF:
            self._on_eof()
        elif packet_type == MSG_CHANNEL_CLOSE:
            self._on_close()
        elif packet_type == MSG_CHANNEL_EXTENDED_DATA:
            packet.get_uint32()  # forwarded connections define no type: count it against the window and drop it
            self._count(size := len(packet.get_string()))
            self._consumed(size)
        elif packet_type == MSG_CHANNEL_REQUEST:
            packet.get_string()
            if packet.get_boolean() and self.state is _OPEN:
                self._connection.send_packet(MSG_CHANNEL_FAILURE, UInt32(self._peer_number))
        return True

    def message_received(self, packet_type: int, body: bytes) -> bool:
        """Handle one message from its raw bytes; `body` follows the channel number. False, without any effect, for
        other messages than the usual ones: `process_packet` and asyncssh handle those."""
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
        if self.state is not _OPEN:
            return
        self._peer_window += size
        if self._peer_window > 0xFFFFFFFF:  # RFC 4254 §5.2: MUST NOT be increased above 2^32 - 1
            raise ProtocolError("Window overflow")
        self.flush()

    def log_received_packet(self, *_args: object) -> None:
        """The packet trace of asyncssh is off on the data path."""

    log_sent_packet = log_received_packet

    def received(self, data: bytes) -> None:
        """One SSH_MSG_CHANNEL_DATA."""
        size = len(data)
        if size > self._own_window:  # `_count`, without a call for each packet
            raise ProtocolError(_BEYOND_WINDOW)
        self._own_window -= size
        if self._close_after_flush or self._received_eof:
            self._consumed(size)  # no sink wants it: drop it, but return the window, so that the peer gets to its close
        elif not data:
            return  # a sink never gets empty data
        elif self._read_paused or self._received:
            self._received.add(data)
        else:
            self._deliver(data)

    def _count(self, size: int) -> None:
        """Take `size` off the window (RFC 4254 §5.2)."""
        if size > self._own_window:
            raise ProtocolError(_BEYOND_WINDOW)
        self._own_window -= size

    def _consumed(self, size: int) -> None:
        """Return window to the peer in halves, because an adjust for each packet would double the packets.

        The grant fills the window up to the connection's current size: it is smaller than the used bytes after windows
        have shrunk, and larger after they have grown. It comes after half a window, or after half of the peer's current
        grant if that is less: the peer cannot send more.
        """
        self._used += size
        window = self._connection.channel_window
        if self._used < min(window, self._granted) // 2 or self.state is not _OPEN:
            return
        grant = window - (self._granted - self._used)
        if grant > 0:
            self._connection.send_packet(MSG_CHANNEL_WINDOW_ADJUST, UInt32(self._peer_number), UInt32(grant))
            self._own_window += grant
            self._granted += grant - self._used
            self._used = 0

    def _on_eof(self) -> None:
        if self.state is _OPEN:
            self._received_eof = True
            self._deliver_eof()

    def _deliver_eof(self) -> None:
        """Deliver the end-of-file, after all bytes before it."""
        if self._received_eof and not self._eof_delivered and not self._received and not self._read_paused:
            self._eof_delivered = True
            if self._sink is not None:
                self._tell(self._sink.eof_received)

    def _on_close(self) -> None:
        """The peer has closed both directions. The sink still gets the bytes before the close, even if it has
        paused."""
        if self.state in (_OPENING, _ABANDONED):
            self.process_open_failure(OPEN_CONNECT_FAILED, "", "")  # a close of an unopened channel refuses it
            return
        if self.state is _ASKED:
            self.refuse(OpenFailure.GONE)
            return
        if self.state is _OPEN:
            self._send_close()
        while self._received:
            self._deliver(bytes(self._received.take(limits.CHANNEL_PACKET_BYTES)))
        self._read_paused = False
        self._deliver_eof()
        sink = self._forget()
        if sink is not None:
            self._tell(sink.stream_lost, None)

    def process_connection_close(self, error: Exception | None) -> None:
        """The whole SSH connection is gone."""
        opening = self.state in _UNOPENED
        sink = self._forget()
        if sink is None:
            return
        if opening:
            self._tell(sink.stream_refused, OpenFailure.GONE)
        else:
            self._tell(sink.stream_lost, error or ConnectionResetError("the SSH connection closed"))

    def _forget(self) -> Sink | None:
        """Leave the connection. Returns the sink that the caller must tell; None if it has aborted."""
        sink, self._sink = self._sink, None
        if self.state is not _CLOSED:
            self.state = _CLOSED
            self._over = self._close_after_flush = True
            self._queue.clear()
            self._received.clear()
            if self._number is not None:
                self._connection.remove_channel(self._number)
            if self._owner is not None:
                self._owner.channel_gone(self)
        return sink
