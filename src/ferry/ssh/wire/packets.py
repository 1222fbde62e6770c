"""asyncssh's packet layer (RFC 4253 §6) with a lean path for data. All bytes of all visitors pass through it.

* asyncssh sends an encrypted SSH_MSG_IGNORE before each packet, as a defence for CBC ciphers. AEAD ciphers do not need
  it; without it CPU falls by 27 to 39 %.
* The packets of one loop turn leave in one socket write.
* Packets are cut from the input by offset. asyncssh copies the whole remaining input for each.
* Data for our own channels goes straight to them. All other packets take asyncssh's path.
* Channels, those of sessions too, stop while the socket is full or during a key exchange. They wait in a round, and send
  one packet each in turn. asyncssh's `pause_writing` does nothing: a peer with a huge window that stopped reading took
  the process from 40 to 2,200 MB.
* A connection reads at most TURN_PACKETS in one turn of the loop, and sends at most as many with data, because all others
  wait for this work. A peer that sent its bytes in packets of one byte made 4,000 times the work.

docs/performance.md has the figures. `connection` builds channels, requests and the log-in on this.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import socket
from collections import deque
from functools import partial
from struct import Struct
from typing import Any, Final

from asyncssh.constants import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_FIRST,
    MSG_CHANNEL_LAST,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_KEX_FIRST,
    MSG_KEX_LAST,
    MSG_USERAUTH_FIRST,
    MSG_USERAUTH_LAST,
)
from asyncssh.misc import DisconnectError, MACError, ProtocolError
from asyncssh.packet import PacketDecodeError, SSHPacket, UInt32

from ferry import limits
from ferry.send_queue import unacknowledged

from .channel import TunnelChannel
from .channel_state import Waiting
from .gcm import TAG_BYTES, PacketGcm, with_one_cipher
from .keepalive import KeepaliveConnection
from .standstill import Standstill

_BATCH_BYTES: Final = 64 * limits.KIB  # written at once when a loop turn has produced this much
_BLOCK: Final = 16
_PADDINGS: Final = tuple(bytes(short if (short := -size % _BLOCK) >= 4 else short + _BLOCK) for size in range(_BLOCK))
"""The padding by the size of packet and padding length, modulo 16. RFC 4253 §6: it has at least 4 bytes and SHOULD be
random. But under AEAD a peer without the key cannot see or use it, and random bytes cost 1 µs."""
_TCP_NOTSENT_LOWAT: Final = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # tcp(7); Python 3.12 names it
_COPIED_BYTES: Final = 4 * limits.KIB  # for input up to this size a copy is faster than a view
_DATA_HEAD: Final = Struct(">BBII")  # padding length, type, channel, length of the data
_DATA_HEAD_BYTES: Final = _DATA_HEAD.size
_LEAN_MESSAGES: Final = frozenset(
    (
        MSG_CHANNEL_DATA,
        MSG_CHANNEL_WINDOW_ADJUST,
        MSG_CHANNEL_EOF,
        MSG_CHANNEL_CLOSE,
        MSG_CHANNEL_OPEN_CONFIRMATION,
    )
)
"""The messages that go straight to our own channels."""


# Plain bits: to test a member of an enum costs a Python call, and each packet tests these.
BEHIND, ANSWERS, KEYS = 1, 2, 4
"""The reasons for not reading. BEHIND: received packets still wait for the loop's next turns. ANSWERS: the peer must
first read its answers. KEYS: the peer exchanges keys too often (`connection`)."""
SOCKET, SILENT = 1, 2
"""The reasons for not sending data. SOCKET: the socket is full. SILENT: the peer gets time to read an answer
(`connection`)."""


class PacketConnection(KeepaliveConnection):
    """asyncssh's server connection with the lean packet path. asyncssh handles all packets that are not data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seal: PacketGcm | None = None
        """Our sending cipher, if it is AES-GCM and the lean path may be taken."""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._out_scheduled = False
        self._widest = self.channel_window = limits.CHANNEL_WINDOW_BYTES
        """The number of bytes that a channel's peer may send ahead."""
        self._read_paused = self._write_paused = 0
        self._round: deque[Waiting] = deque()
        self._turn_packets = 0
        """The number of data packets sent in this turn of the loop."""
        self._parsed = 0
        """The number of bytes of `_inpbuf` that are parsed already, when `_recv_data` begins."""
        self._written = 0
        """The number of bytes given to the transport so far."""
        self._standstill = Standstill()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, limits.UNSENT_BYTES)
        super().connection_made(transport)
        self._acknowledge_now()

    def _acknowledge_now(self) -> None:
        """Turn off delayed acknowledgements during a log-in (tcp(7) TCP_QUICKACK; the kernel forgets it, so set it
        again).

        Stock ssh sends two small packets in a row there, with Nagle's algorithm on: the second one waited 41 ms for our
        acknowledgement of the first. From the start of ssh to the first answer: 72 ms before, 26 ms with this.
        """
        if not self._auth_complete and self._transport is not None:
            sock: socket.socket = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the connection is gone; the next read finds that
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    # --- ciphers

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        self._seal = None  # before it returns, asyncssh sends the deferred packets under the new keys
        super().send_newkeys(k, h)
        self._standstill.exchanged()
        self._send_encryption = with_one_cipher(self._send_encryption)
        self._next_recv_encryption = with_one_cipher(self._next_recv_encryption)
        self._seal = self._send_encryption if isinstance(self._send_encryption, PacketGcm) else None

    # --- sending

    @property
    def may_send(self) -> bool:
        """Whether channels may send data now: the socket is not full, no key exchange is in progress, this turn's
        packets are not used up, and the peer needs no pause after an answer."""
        return not self._write_paused and self._kex_complete and self._turn_packets < limits.TURN_PACKETS

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send one packet, by the lean path if possible, otherwise by asyncssh's."""
        if self._seal is None or pkttype <= MSG_USERAUTH_LAST or not self._may_be_lean:
            super().send_packet(pkttype, *args, handler=handler)
        else:
            self._send_lean(b"".join((pkttype.to_bytes(1, "big"), *args)))

    def send_data(self, channel: int, data: bytes | bytearray | memoryview) -> None:
        """Send one SSH_MSG_CHANNEL_DATA (RFC 4254 §5.2) to the peer's `channel`."""
        size = len(data)
        self._turn_packets += 1
        if self._seal is None or not self._may_be_lean:
            super().send_packet(MSG_CHANNEL_DATA, UInt32(channel), UInt32(size), bytes(data), handler=self)
        else:
            padding = _PADDINGS[(_DATA_HEAD_BYTES + size) % _BLOCK]
            head = _DATA_HEAD.pack(len(padding), MSG_CHANNEL_DATA, channel, size)
            self._send_sealed(b"".join((head, data, padding)))

    @property
    def _may_be_lean(self) -> bool:
        """Whether no key exchange is due or in progress."""
        return (
            self._kex_complete and self._rekey_bytes_sent < self._rekey_bytes and self._loop.time() < self._rekey_time
        )

    def _send_lean(self, payload: bytes) -> None:
        padding = _PADDINGS[(1 + len(payload)) % _BLOCK]
        self._send_sealed(b"".join((len(padding).to_bytes(1, "big"), payload, padding)))

    def _send_sealed(self, packet: bytes) -> None:
        """Encrypt and send `packet`: padding length, payload, padding (RFC 4253 §6)."""
        assert self._seal is not None
        size = len(packet)
        header = size.to_bytes(4, "big")
        self._out.append(header)
        self._out_bytes += len(header)
        self._send(self._seal.seal(header, packet))
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += size

    def _send(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes >= _BATCH_BYTES:
            self._write_out()
        elif not self._out_scheduled:
            self._out_scheduled = True
            self._loop.call_soon(self._write_out_soon)

    def _write_out_soon(self) -> None:
        """Write the packets of one turn of the loop, at the beginning of the next turn."""
        self._out_scheduled = False
        self._write_out()
        self._turn_packets = 0
        self._run_round()

    def _write_out(self) -> None:
        if self._out:
            self._written += self._out_bytes
            out, self._out, self._out_bytes = self._out, [], 0
            if self._transport is not None:
                self._transport.writelines(out)

    def _force_close(self, exc: Exception | None) -> None:
        self._write_out()
        super()._force_close(exc)

    # --- receiving

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        del datatype
        if not self._inpbuf:
            self._inpbuf = data
            self._recv_data()
        else:
            self._recv_straddling(data)
        if self._write_paused & SOCKET or not self._kex_complete:
            self._bound_answers()
        if not self._auth_complete:
            self._acknowledge_now()

    def _fall_behind(self) -> None:
        """Stop reading until the next turn of the loop."""
        if self._transport is not None:
            self._read_paused |= BEHIND
            self._transport.pause_reading()
            self._loop.call_soon(self._catch_up)

    def _catch_up(self) -> None:
        self._read_paused &= ~BEHIND
        if self._transport is not None:
            self._recv_data()
            self._listen()

    def _listen(self) -> None:
        """Read on, unless there is a reason for not reading."""
        if not self._read_paused and self._transport is not None:
            self._transport.resume_reading()

    def _recv_straddling(self, data: bytes) -> None:
        """Add to a packet that has begun. Only the bytes up to its end are joined to it; the rest is not copied."""
        begun, there = self._inpbuf, len(data)
        end = there
        if len(begun) >= 4 and self._recv_cipher is not None:
            missing = 4 + int.from_bytes(begun[:4], "big") + TAG_BYTES - len(begun)
            if 0 < missing < there:
                end = missing
        self._inpbuf = begun + data[:end]
        self._recv_data()
        if end == there or self._transport is None:
            return
        if self._inpbuf:  # an earlier packet is still in progress
            self._inpbuf += data[end:]
        else:
            self._inpbuf, self._parsed = data, end
            self._recv_data()

    @property
    def _recv_cipher(self) -> PacketGcm | None:
        """The receiving cipher, if the lean path may be taken."""
        cipher = self._recv_encryption
        if not self._auth_complete or type(cipher) is not PacketGcm:
            return None
        # With another handler asyncssh waits for an answer, or is within a packet.
        return cipher if self._recv_handler == self._recv_pkthdr else None

    def _recv_data(self) -> None:
        """Handle the packets in `_inpbuf`. Until the end of the log-in, and for other ciphers, asyncssh's own loop
        does."""
        cipher = self._recv_cipher
        self._heard = self._loop.time()
        try:
            if cipher is None:
                self._recv_carefully()
            else:
                self._recv_packets(cipher)
        except DisconnectError as error:
            self._send_disconnect(error.code, error.reason, error.lang)
            self._force_close(error)
        except Exception:  # as in asyncssh: log it and end this connection
            self.internal_error()

    def _recv_carefully(self) -> None:
        """As asyncssh, whose handlers read a packet in two steps."""
        self._inpbuf, self._parsed = self._inpbuf[self._parsed :], 0
        left = 2 * limits.TURN_PACKETS
        while self._inpbuf and self._recv_handler():
            left -= 1
            if left == 0:
                self._fall_behind()
                return

    def _recv_packets(self, cipher: PacketGcm) -> None:
        buffer, position = self._inpbuf, self._parsed
        self._parsed = 0
        left = limits.TURN_PACKETS
        end = len(buffer)
        source = memoryview(buffer) if end > _COPIED_BYTES else buffer
        channels: dict[int, Any] = self._channels
        while end - position > 4 + TAG_BYTES:
            if left == 0:
                self._fall_behind()
                break
            header = buffer[position : position + 4]
            size = int.from_bytes(header, "big")
            if size > self._max_recv_pktlen:
                raise ProtocolError("Max packet size exceeded")
            stop = position + 4 + size + TAG_BYTES
            if stop > end:
                break
            packet = cipher.open(header, source[position + 4 : stop])
            if packet is None or size < 6:
                raise MACError("MAC verification failed")
            position = stop
            left -= 1
            if packet[1] in _LEAN_MESSAGES:
                channel = channels.get(int.from_bytes(packet[2:6], "big"))
                if type(channel) is TunnelChannel:
                    last = size - packet[0]
                    if packet[1] == MSG_CHANNEL_DATA:
                        if last - _DATA_HEAD_BYTES != int.from_bytes(packet[6:_DATA_HEAD_BYTES], "big"):
                            raise ProtocolError("The length of channel data is wrong")
                        self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
                        channel.received(packet[_DATA_HEAD_BYTES:last])
                        continue
                    if channel.message_received(packet[1], packet[6:last]):
                        self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
                        continue
            self._inpbuf = buffer[position:]
            if not self._dispatch(packet[1 : size - packet[0]]) or self._transport is None:
                return
            if self._recv_encryption is not cipher:  # SSH_MSG_NEWKEYS
                self._recv_data()
                return
        self._inpbuf = buffer[position:]

    def _dispatch(self, payload: bytes) -> bool:
        """Handle one decrypted packet, as the end of asyncssh's `_recv_packet`. False if its handler waits."""
        sequence = self._recv_seq
        packet = SSHPacket(payload)
        packet_type = packet.get_byte()
        handler: Any = self
        if MSG_KEX_FIRST <= packet_type <= MSG_KEX_LAST:
            handler = self._kex
            if self._ignore_first_kex:
                self._ignore_first_kex = False
                self._finish_recv_packet(packet_type, sequence)
                return True
        elif MSG_USERAUTH_FIRST <= packet_type <= MSG_USERAUTH_LAST:
            handler = self._auth
        elif MSG_CHANNEL_FIRST <= packet_type <= MSG_CHANNEL_LAST:
            try:
                handler = self._channels[packet.get_uint32()]
            except PacketDecodeError as error:
                raise ProtocolError(str(error)) from None
        if handler is None:
            raise ProtocolError(f"Packet type {packet_type} was not expected now")
        try:
            result = handler.process_packet(packet_type, sequence, packet)
        except PacketDecodeError as error:
            raise ProtocolError(str(error)) from None
        if inspect.isawaitable(result):
            self._recv_handler = lambda: False
            task = self.create_task(result)
            task.add_done_callback(partial(self._finish_recv_packet, packet_type, sequence, is_async=True))
            return False
        if not result:
            self.send_packet(3, UInt32(sequence))  # SSH_MSG_UNIMPLEMENTED, RFC 4253 §11.4
        self._finish_recv_packet(packet_type, sequence)
        return True

    # --- keepalive

    @property
    def silent(self) -> bool:
        """Whether `silent_for` counts. A first keepalive behind bytes that a slow client has yet to read does not."""
        asked = self._keepalive_count  # 0 nearly always: each new stream passes here
        return asked > 0 and self.silent_for > 0 and (asked > 1 or not self._waiting)

    @property
    def silent_for(self) -> float:
        """Seconds since the client's last packet, once it has left a keepalive unanswered for ALIVE_SECONDS; 0 before."""
        timer = self._keepalive_timer
        if not self._keepalive_count or timer is None:
            return 0.0
        now: float = self._loop.time()
        asked = timer.when() - self._keepalive_count * self._keepalive_interval
        return now - self._heard if self._heard < asked < now - limits.ALIVE_SECONDS else 0.0

    # --- windows

    def answered_in(self, seconds: float) -> None:
        """The peer has answered the open of a channel after `seconds`.

        A near peer needs no large windows, and a small answer waits behind all bytes in them. On loopback, 2 cores: a
        small answer beside a download took 0.8 ms (median) instead of 1.2 with 768 KiB for all, and the download went
        at 420 MB/s instead of 340, because large windows do not fit into the caches.
        """
        if seconds <= limits.NEAR_SECONDS:
            self._widest = limits.NEAR_WINDOW_BYTES
            self._share_windows()

    def add_channel(self, chan: Any) -> int:
        number = super().add_channel(chan)
        self._share_windows()
        return number

    def remove_channel(self, recv_chan: int) -> None:
        super().remove_channel(recv_chan)
        self._share_windows()

    def _share_windows(self) -> None:
        each = limits.WINDOWS_BYTES // (len(self._channels) or 1)
        self.channel_window = min(self._widest, max(each, limits.LEAST_WINDOW_BYTES))

    # --- detecting a standstill

    @property
    def _waiting(self) -> int:
        """Bytes that the socket has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def life(self) -> tuple[float, int]:
        """It changes while the peer is there: the time of its last bytes, and the number of our bytes that its system has
        acknowledged. What the kernel has taken is no measure: it takes more in large steps."""
        unread = 0 if self._transport is None else unacknowledged(self._transport)
        return self._heard, self._written - unread

    def stuck(self, now: float) -> str | None:
        """The reason to end this connection, if it does not move. Called once a second, with the loop's time."""
        if self._transport is None:
            return None
        waiting = self._waiting
        return self._standstill.look(
            now,
            exchanging=self._auth_complete and not self._kex_complete,
            taken=self._written - waiting,
            waiting=waiting,
        )

    # --- back-pressure and fairness

    def pause_writing(self) -> None:
        self._write_paused |= SOCKET

    def resume_writing(self) -> None:
        self._write_paused &= ~SOCKET
        if self._read_paused & ANSWERS:
            self._read_paused &= ~ANSWERS
            self._listen()
        self._run_round()

    def _bound_answers(self) -> None:
        """Stop reading from a peer that sends requests without reading the answers (data stops far earlier)."""
        if self._transport is None:
            return
        if len(self._deferred_packets) > limits.DEFERRED_PACKETS:
            self._force_close(ProtocolError("Too many requests during a key exchange"))
        elif self._write_paused & SOCKET and not self._read_paused & ANSWERS and self._waiting > limits.UNREAD_BYTES:
            self._read_paused |= ANSWERS
            self._transport.pause_reading()

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()
        self._run_round()

    def await_turn(self, channel: Waiting) -> None:
        """Queue a channel with bytes that cannot be sent now."""
        channel.waiting = True
        self._round.append(channel)

    def _run_round(self) -> None:
        """Let the waiting channels send, one packet each in turn, while `may_send`."""
        while self._round and self.may_send:
            channel = self._round.popleft()
            more = channel.send_one()
            channel.waiting = False  # only now, so that bytes that a sink writes within the call do not jump the queue
            if more:
                self.await_turn(channel)

    def log_received_packet(self, *_args: object, **_kwargs: object) -> None:
        """Do nothing: asyncssh's packet trace costs 2 µs a packet even when it is off."""

    log_sent_packet = log_received_packet
