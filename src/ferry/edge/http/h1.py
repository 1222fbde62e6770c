"""One visitor's HTTP/1.1 connection: it reads requests in order, and one exchange answers them in the same order.

It is a state machine without tasks, futures or timers; callbacks alone drive it. It serves one request at a time.
Pipelined bytes wait in a bounded buffer. Deadlines are numbers that the edge's tick compares with its clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.limiters.shortage import Standing
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.protocol.http1.serialize import interim_head, response_head
from ferry.protocol.wrong_port import TLS_ALERT
from ferry.send_queue import unacknowledged

from . import pages
from .connection import BEHIND, READ_AHEAD, STREAM_FULL, ConnectionOwner, ConnectionPhase, VisitorConnection
from .exchange import Exchange
from .forwarding import Forwarding
from .heads import HeadReader
from .phases import ExchangePhase
from .shared import Shared

Sni = Callable[[object], str | None]
"""Returns the SNI name of a connection's SSL object."""
CertificateFor = Callable[[str], object | None]
"""Returns the certificate of a hostname; compared by identity."""


class Entrance(NamedTuple):
    """The listener that accepted a visitor. A tuple, because each connection makes one."""

    secure: bool
    port: int
    """The port in visitors' URLs."""
    sni: Sni | None = None
    certificate_for: CertificateFor | None = None


# Members as plain globals: a look-up on the class for each packet is slower.
_READING, _BUSY, _LINGER, _CLOSED = ConnectionPhase
_SENDING, _EARLY, _RAW = ExchangePhase.SENDING, ExchangePhase.EARLY, ExchangePhase.RAW
_UNTIL_CLOSE: Final = Framing.CLOSE

_GOES_ON: Final = frozenset((200, 404, 502, 503, 504, 508))  # our own answers that leave the connection usable


class H1Connection(VisitorConnection):
    """The protocol of one accepted connection, plain or TLS, and the `Downstream` of its exchange."""

    __slots__ = (
        "_begun",
        "_behind",
        "_body",
        "_checked",
        "_closing",
        "_entrance",
        "_heads",
        "_look_at",
        "_reading",
        "exchange",
    )

    exchange: Exchange
    """Set with the transport."""

    def __init__(self, owner: ConnectionOwner, shared: Shared, entrance: Entrance) -> None:
        super().__init__(owner, shared)
        self._entrance = entrance
        self._heads = HeadReader(shared.bounds, owner.heads)
        self._begun = True  # a head's deadline runs: from the accept, later from a head's first byte
        self._reading = False
        self._behind = False  # it waits in the round with bytes that it has read
        self._body: Body | None = None  # the request's body, while some of it is still to come
        self._closing = False  # this is the last request
        self._checked = ""  # a Host that this connection's certificate covers
        self._look_at = 0  # bytes of the answer after which to check again how many of them are unsent

    # --- asyncio

    def _started(self) -> None:
        entrance = self._entrance
        forwarding = Forwarding(self.peer.host, secure=entrance.secure, port=entrance.port)
        self.exchange = Exchange(self._shared, self, self._owner.backends, forwarding)

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is _READING and not self.write_paused:
            self.buffer = self.buffer + data if self.buffer else data
            self._read_heads()
            return
        if phase is _BUSY:
            of_exchange = self.exchange.phase
            if of_exchange is _SENDING or of_exchange is _EARLY:
                self._send_body(data)
                return
            if of_exchange is _RAW:
                self.exchange.send(data, len(data))
                return
        if phase is not _LINGER:
            self.buffer += data
            if len(self.buffer) > limits.PIPELINE_BYTES:
                self._pause_reads(READ_AHEAD)

    def eof_received(self) -> bool:
        """RFC 9112 §9.6. True keeps the connection open for writing, which TLS cannot."""
        self.ended = True
        exchange = self.exchange
        if exchange.phase is _RAW:
            if not exchange.raw_ended():
                self.shut()  # with a deadline for what it has not read yet
                return False
            return not self._entrance.secure
        more_to_read = self.write_paused or self._behind
        if (self.phase is _BUSY and not exchange.sending) or (self.phase is _READING and more_to_read):
            # The last requests get their answers while bytes flow. A visitor that is gone answers the first of these
            # bytes with a reset.
            self.expire_in(self._shared.bounds.half_closed_seconds)
            exchange.visitor_ended()
            return not self._entrance.secure
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        ends_later = self.exchange.detach() and not self._owner.draining
        super().connection_lost(exc)
        if self._behind:
            return
        if ends_later:  # it takes 50 µs, and a thousand visitors of one attack may leave in one turn of the loop
            self._owner.round.later(self)
        else:
            self.exchange.visitor_left()

    # --- requests

    def _read_heads(self) -> None:
        """Begin the next request, and the ones after it while each is answered at once."""
        if self._reading or self._behind:  # an immediate answer has called this: the loop below goes on by itself
            return
        self._reading = True
        left = limits.REQUESTS_IN_A_PIECE
        try:
            while self.phase is _READING and not self.write_paused:
                buffer = self.buffer
                if not left and buffer:
                    self._fall_behind()
                    break
                left -= 1
                # Exactly one known head: its end and its bounds need no second check.
                if len(buffer) <= limits.HEAD_REMEMBERED_BYTES and (request := self._owner.heads.get(buffer)):
                    self.buffer = b""
                    if self._heads.begun:
                        self._heads.restart()
                else:
                    request, self.buffer = self._heads.take(buffer)
                    if request is None:
                        self._await_head()
                        break
                self._begin(request)
        except RemoteProtocolError as error:
            self._refuse_connection(error.status, str(error))
        finally:
            self._reading = False

    def _fall_behind(self) -> None:
        """The buffer has more than one piece of work: let others have their turn first."""
        self._behind = True
        self._pause_reads(BEHIND)
        self._owner.round.later(self)

    def catch_up(self) -> None:
        """As in `ferry.edge.http.round.CatchesUp`, and so is `fail`."""
        self._behind = False
        if self.phase is _CLOSED:
            self.exchange.visitor_left()
            return
        if self.phase is _READING:
            self._read_heads()
        elif self.exchange.sending:
            data, self.buffer = self.buffer, b""
            self._send_body(data)
        if not self._behind:
            self._resume_reads(BEHIND)

    def fail(self) -> None:
        self.abort()

    def _await_head(self) -> None:
        if self.ended:
            self.shut()
        elif self.buffer and not self._begun:
            self._begun = True
            self.expire_in(self._shared.bounds.head_seconds)
        self._resume_reads(READ_AHEAD)

    def _begin(self, request: RequestHead) -> None:
        self.phase = _BUSY
        self.deadline = 0.0
        if self.ended:
            self.expire_in(self._shared.bounds.half_closed_seconds)
        self._look_at = limits.VISITOR_UNSENT_LEAST_BYTES
        # RFC 9110 §15.5.20, §7.4: a connection with one name's certificate must not serve another name
        if request.host != self._checked and not self._certificate_serves(request.host):
            self.exchange.decline(request, 421, pages.WRONG_CERTIFICATE)
        else:
            self.exchange.begin(request)

    def _certificate_serves(self, host: str) -> bool:
        sni, certificate_for = self._entrance.sni, self._entrance.certificate_for
        if sni is not None:
            assert certificate_for is not None
            name = sni(self.transport.get_extra_info("ssl_object"))
            if name is not None and name != host and certificate_for(name) is not certificate_for(host):
                return False
        self._checked = host
        return True

    def first_body(self, request: RequestHead) -> tuple[bytes, int, bool]:
        self._body = Body(request.length)
        wire, size = self._take_body(self.buffer) if self.buffer else (b"", 0)
        self._resume_reads(READ_AHEAD)
        return wire, size, self._body is None

    def _take_body(self, data: bytes) -> tuple[bytes, int]:
        """The part of `data` that belongs to the body, framed for the service, and its payload's size. The rest goes
        into the buffer. After the end of the body, `_body` is None."""
        body = self._body
        assert body is not None
        wire, self.buffer = body.feed(data)
        if body.done:
            self._body = None
        elif self.buffer:
            self._fall_behind()
        return wire, body.payload

    def _send_body(self, data: bytes) -> None:
        if self._behind:
            self.buffer += data
            return
        try:
            wire, size = self._take_body(data)
        except RemoteProtocolError as error:
            self.exchange.fail(error.status, str(error))
            return
        if self._body is None:
            self.exchange.sent()  # first: a stream that `send` fills pauses only a visitor that has more to send
        if wire:
            self.exchange.send(wire, size)

    # --- answers (`Downstream`)

    @property
    def scheme(self) -> str:
        return "https" if self._entrance.secure else "http"

    def takes_chunks(self, request: RequestHead) -> bool:
        return not request.http10  # RFC 9112 §6.1

    def interim(self, response: ResponseHead) -> bytes:
        request = self.exchange.request
        assert request is not None
        return b"" if request.http10 else interim_head(response)  # RFC 9110 §15.2: never to an HTTP/1.0 client

    def head(self, response: ResponseHead, framing: Framing) -> bytes:
        exchange = self.exchange
        request = exchange.request
        assert request is not None
        # RFC 9112 §9.6: `close` says that we read no more requests. The start of the next request is unknown if the
        # answer comes before the end of the body, or if a service refuses an upgrade after bytes of the new protocol.
        doubt = exchange.phase is _EARLY or (request.upgrade and self.buffer)
        if framing is _UNTIL_CLOSE or doubt or not request.keep_alive or self._owner.draining:
            self._closing = True
            connection = b"close"
        else:
            connection = b"keep-alive" if request.http10 else b""
        if framing is response.written_framing and connection == response.written_connection:
            return response.written
        return response_head(response, framing, connection)

    def write(self, data: bytes) -> None:
        exchange = self.exchange
        if self.ended and exchange.phase is not _RAW:
            self.expire_in(self._shared.bounds.half_closed_seconds)
        self.transport.write(data)
        if len(data) < limits.SMALL_WRITE_BYTES and self.transport.get_write_buffer_size():
            self._wrote_little()
        if exchange.down >= self._look_at:
            self._look_at = exchange.down + self._look_at_unsent(
                0 if exchange.backend is None else exchange.backend.places.in_use
            )

    def answered(self, now: float, *, whole: bool) -> None:
        if self._unsent is not None:
            self._forget_unsent()
        if not self._closing:
            self._next(now)
        elif whole and not self.buffer and (self._entrance.secure or _asks_to_close(self.exchange)):
            self.shut()
        else:
            self.linger()

    def refused(self, status: int, reason: str, *, last: bool) -> None:
        request = self.exchange.request
        goes_on = (
            status in _GOES_ON
            and not last
            and request is not None
            and request.keep_alive
            and not request.length
            and not request.upgrade
            and not self._owner.draining
        )
        self._write_page(status, reason, request, close=not goes_on)
        if goes_on and not self.transport.is_closing():  # it closes if the write found that the visitor is gone
            self._next(self._shared.clock.monotonic())
        else:
            self.linger()

    def broken(self) -> None:
        self.abort()

    def switched(self, response: ResponseHead, following: bytes) -> None:
        exchange = self.exchange
        self.deadline = 0.0
        exchange.relay(interim_head(response) + following, len(following))
        data, self.buffer = self.buffer, b""
        if data:
            exchange.send(data, len(data))
        self._resume_reads(READ_AHEAD)
        if self.ended and not exchange.raw_ended():
            self.shut()

    def write_eof(self) -> bool:
        if not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    def closed(self) -> None:
        self.shut()

    def pause_reading(self) -> None:
        self._pause_reads(STREAM_FULL)

    def resume_reading(self) -> None:
        self._resume_reads(STREAM_FULL)

    def unacknowledged(self) -> int:
        return unacknowledged(self.transport)

    def _next(self, now: float) -> None:
        self.phase = _READING
        self._begun = False
        self.deadline = now + self._shared.bounds.keepalive_seconds
        if self.read_paused:
            self._resume_reads(STREAM_FULL)
        if self.buffer or self.ended or self.read_paused:
            self._read_heads()
        elif self._owner.draining:
            self.shut()

    def _refuse_connection(self, status: int, reason: str) -> None:
        """Answer an error before any request, and close: the start of the next request is unknown."""
        self._shared.refused(self.scheme, self.peer, status, reason)
        if answer := self._to_other_protocol():
            self.transport.write(answer)
        else:
            self._write_page(status, reason, None, close=True)
        self.linger()

    def _to_other_protocol(self) -> bytes:
        """The answer to an SSH or TLS client, which has come to the wrong port; empty for any other."""
        if self.exchange.request is not None:
            return b""
        spoken = classify(self.buffer[:LOOK_BYTES])
        if spoken is FirstBytes.SSH:
            return self._shared.to_ssh()
        return TLS_ALERT if spoken is FirstBytes.TLS else b""

    # --- its place among all connections (`ferry.edge.connections.Connected`)

    @property
    def since(self) -> float:
        return self.exchange.since

    def standing(self) -> tuple[Standing, int]:
        phase = self.phase
        if phase is _BUSY:
            return self.exchange.standing()
        if phase is _READING:  # a request since the last check counts as a move
            return Standing.SILENT, int(self.since * limits.MIB) + len(self.buffer)
        if phase is _LINGER and unacknowledged(self.transport):  # the visitor still reads its last answer
            return Standing.UNREAD, self.exchange.acknowledged
        return Standing.GONE, 0

    def last_check(self) -> tuple[float, int] | None:
        return None if self.phase is _READING else self.exchange.last_check()

    def disconnect(self) -> None:
        if self.phase is _READING and not self.transport.get_write_buffer_size():
            self.shut()  # with unread bytes, `shut` would keep the connection until the visitor has read them
        else:
            self.exchange.give_up(pages.DISCONNECTED)

    # --- the edge's

    @property
    def exchanges(self) -> tuple[Exchange]:
        return (self.exchange,)

    def expired(self) -> None:
        """The deadline has passed."""
        if self.phase is _READING and self.buffer:
            self._refuse_connection(408, "the head did not arrive in time")  # RFC 9110 §15.5.9
        elif self.phase is _READING or (self.phase is _LINGER and not self.transport.is_closing()):
            self.shut()
        else:
            self.abort()

    @property
    def awaits_visitor(self) -> bool:
        """The visitor has to send a body, or to read."""
        return bool(self.write_paused) or self.exchange.sending

    def check_pace(self, now: float) -> None:
        """Cut a visitor that sends or reads too slowly."""
        if self.phase is _BUSY or self.phase is _READING:
            self.exchange.check_pace(now)

    def drain(self) -> None:
        """The edge stops: close now if there is no request; otherwise after the next answer."""
        if self.phase is _READING and not self.buffer:
            self.shut()

    # --- back-pressure

    def _on_pause_writes(self) -> None:
        self.exchange.pause_writing()

    def _on_resume_writes(self) -> None:
        between = self.phase is _READING
        self.exchange.resume_writing()
        if between:
            self._read_heads()


def _asks_to_close(exchange: Exchange) -> bool:
    """Whether the visitor sends no more requests. Otherwise its next request may be on the way, and an immediate close
    would answer it with a reset that destroys this answer. Only TLS closes at once, because it cannot close one
    direction (RFC 9112 §9.6, §9.8)."""
    assert exchange.request is not None
    return not exchange.request.keep_alive
