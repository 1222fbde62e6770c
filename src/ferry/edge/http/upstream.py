"""One stream to a tunnel's local service, carrying one request at a time: reads the answer and relays it.

What comes back is judged before any of it reaches the visitor, and how the stream may be used afterwards is decided
here. It is reused only when nothing about it is in doubt: the request was sent whole, the response was framed by
length or chunks and ended where it said, both sides meant to go on, and not one byte came unasked.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.names import Endpoint
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.framing import CHUNKED, Framing
from ferry.protocol.http1.octets import head_length, list_tokens
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead, check_beginning, parse_response
from ferry.protocol.http1.serialize import interim_head, response_head
from ferry.registry.routes import Tunnel
from ferry.streams import OpenFailure, Stream

from .pool import Pool
from .state import EdgeState
from .tunnel_tls import dial_tls

if TYPE_CHECKING:
    from .visitor import Visitor


class _State(enum.Enum):
    IDLE = enum.auto()  # no request: in the pool, or held for its visitor
    HEAD = enum.auto()
    BODY = enum.auto()  # with an end that its framing tells
    CLOSE = enum.auto()  # a body that ends with the stream
    RAW = enum.auto()  # after 101
    DEAD = enum.auto()


# Members as plain globals: looking one up on its class for every packet is slower.
_IDLE, _HEAD, _BODY, _CLOSE, _RAW, _DEAD = _State


class Upstream:
    """A `ferry.streams.Sink`, and what the visitor writes its request to."""

    __slots__ = (
        "_body",
        "_buffer",
        "_edge",
        "_full",
        "_head",
        "_interims",
        "_keep",
        "_method",
        "_pool",
        "_request",
        "_seen",
        "_sent",
        "_sent_as",
        "_sent_for",
        "_state",
        "_stream",
        "_visitor",
        "ended",
        "idle_since",
        "reused",
        "tunnel",
    )

    def __init__(self, edge: EdgeState, tunnel: Tunnel, pool: Pool | None) -> None:
        self._edge = edge
        self.tunnel = tunnel
        self._pool = pool
        self._state = _IDLE
        self._stream: Stream | None = None
        self._visitor: Visitor | None = None
        self._request: RequestHead | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._head = self._method = b""  # the last head that came, and the method it answered
        self._seen: ResponseHead | None = None  # what it meant
        self._sent_for: ResponseHead | None = None  # a head that was remembered,
        self._sent_as = (Framing.NONE, b"")  # for whom it was written,
        self._sent = b""  # and the result
        self._interims = 0
        self._keep = False
        self.ended = False
        self._full = False
        self.reused = False
        self.idle_since = 0.0

    # --- the visitor's side

    def begin(self, visitor: Visitor, request: RequestHead, data: bytes, originator: Endpoint) -> None:
        """Send `data` (the head, and what is there of the body) and give the answer to `visitor`."""
        self._visitor = visitor
        self._request = request
        self._state = _HEAD
        self._interims = 0
        stream = self._stream
        if stream is None:
            tunnel = self.tunnel
            if tunnel.tls_upstream:
                seconds = self._edge.bounds.local_tls_seconds
                stream = dial_tls(self._edge.tls, tunnel, originator, self, request.host, seconds=seconds)
            else:
                stream = tunnel.dial(tunnel.visitor_grant, originator, self)
            if self._state is _DEAD:  # refused before dial returned
                return
            self._stream = stream
        else:
            self.reused = True
        stream.write(data)

    def write(self, data: bytes) -> None:
        """More of the request's body, or of what is spoken after an upgrade."""
        if self._stream is not None:
            self._stream.write(data)

    def write_eof(self) -> None:
        """The visitor will send no more after an upgrade."""
        if self._stream is not None:
            self._stream.write_eof()

    def hold(self) -> None:
        """The visitor cannot take more for now."""
        if self._stream is not None:
            self._stream.pause_reading()

    def release(self) -> None:
        """Undo `hold`."""
        if self._stream is not None:
            self._stream.resume_reading()

    def abandon(self) -> None:
        """Nobody wants the answer any more: drop everything at once."""
        self._forget()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def discard(self) -> None:
        """Close in good order: the answer has been read, or there was no request."""
        self._forget()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def rest(self, now: float) -> None:
        """Into the pool."""
        if self._pool is None:
            self.discard()
        else:
            self._pool.put(self, now)

    @property
    def encouraged(self) -> bool:
        """The service has sent an interim response, as it does to a visitor that waits for 100 (Continue)."""
        return self._interims > 0

    @property
    def alive(self) -> bool:
        """It may carry another request."""
        return self._state is _IDLE

    def _forget(self) -> None:
        self._state = _DEAD
        self._visitor = None

    # --- Sink

    def stream_opened(self) -> None:
        pass

    def stream_refused(self, failure: OpenFailure) -> None:
        visitor = self._visitor
        self._forget()
        self._stream = None
        if visitor is not None:
            visitor.not_opened(self, failure)

    def pause_writing(self) -> None:
        self._full = True
        if self._visitor is not None:
            self._visitor.upstream_full()

    def resume_writing(self) -> None:
        self._full = False
        if self._visitor is not None:
            self._visitor.upstream_drained()

    def data_received(self, data: bytes) -> None:
        state = self._state
        visitor = self._visitor
        if visitor is None:
            if state is _IDLE:  # bytes that nobody asked for
                self._drop_idle()
        elif state is _HEAD:
            self._read_head(visitor, data)
        elif state is _RAW or state is _CLOSE:
            visitor.relay(data, len(data))
        else:
            self._read_body(visitor, data)

    def eof_received(self) -> None:
        visitor = self._visitor
        if visitor is None:
            if self._state is _IDLE:
                self._drop_idle()
        elif self._state is _RAW:
            self.ended = True
            visitor.upstream_ended()
        else:
            self._over(visitor, None)

    def stream_lost(self, error: Exception | None) -> None:
        visitor = self._visitor
        self._stream = None
        if visitor is None:
            if self._state is _IDLE:
                self._drop_idle()
        elif self._state is _RAW:
            self._forget()
            visitor.upstream_closed(error)
        else:
            self._over(visitor, error)

    def _drop_idle(self) -> None:
        if self._pool is not None:
            self._pool.remove(self)
        self.discard()

    def _over(self, visitor: Visitor, error: Exception | None) -> None:
        """No more will come."""
        state = self._state
        if state is _CLOSE and error is None:
            self._finish(visitor)
            return
        untouched = state is _HEAD and not self._buffer and not self._interims
        self.abandon()
        if state is _HEAD:
            reason = f"the local service failed: {error}" if error else "the local service closed without an answer"
            visitor.no_answer(reason, retry=untouched and self.reused)
        else:
            visitor.cut("the local service broke off in the middle of its answer")

    # --- the answer

    def _read_head(self, visitor: Visitor, data: bytes) -> None:
        request = self._request
        assert request is not None
        buffer = self._buffer + data if self._buffer else data
        if request.method == self._method and buffer.startswith(self._head):
            # The same bytes in answer to the same method mean the same; services answer alike within a second.
            response = self._seen
            assert response is not None
            self._buffer = b""
            self._respond(visitor, request, response, buffer[len(self._head) :])
            return
        most_line, most_head = limits.REQUEST_LINE_BYTES, limits.RESPONSE_HEAD_BYTES
        seen = len(self._buffer)  # it holds the beginning of a head alone
        try:
            while True:
                end = head_length(buffer, line_limit=most_line, head_limit=most_head, seen=seen)
                if not end:
                    check_beginning(buffer)
                    self._buffer = buffer
                    return
                seen = 0
                head, buffer = (buffer, b"") if end == len(buffer) else (buffer[:end], buffer[end:])
                response = self._parse(head, request.method)
                if response.status >= 200:
                    break
                if response.status == 101:
                    self._switch(visitor, request, response, buffer)
                    return
                self._interim(visitor, request, response)
        except RemoteProtocolError as error:
            self.abandon()
            visitor.no_answer(f"the local service's answer is not valid HTTP/1.1: {error}", retry=False)
            return
        self._buffer = b""
        self._respond(visitor, request, response, buffer)

    def _parse(self, head: bytes, method: bytes) -> ResponseHead:
        response = parse_response(head, method=method, most_fields=limits.RESPONSE_HEAD_FIELDS)
        if response.status >= 200 and len(head) <= limits.HEAD_REMEMBERED_BYTES:
            self._head, self._method, self._seen = head, method, response
        return response

    def _interim(self, visitor: Visitor, request: RequestHead, response: ResponseHead) -> None:
        self._interims += 1
        if self._interims > limits.INTERIM_RESPONSES:
            raise RemoteProtocolError(f"more than {limits.INTERIM_RESPONSES} interim responses")
        if not request.http10:  # RFC 9110 §15.2: never to an HTTP/1.0 client
            visitor.relay(interim_head(response), 0)

    def _switch(self, visitor: Visitor, request: RequestHead, response: ResponseHead, rest: bytes) -> None:
        # RFC 9110 §7.8: a server must not switch to a protocol that the client did not offer
        chosen = list_tokens(response.upgrade)
        if not chosen or not set(chosen) <= set(list_tokens(request.upgrade)):
            raise RemoteProtocolError("101 to a request that did not ask for this protocol")
        self._buffer = b""
        self._state = _RAW
        visitor.switched(interim_head(response), rest)

    def _respond(self, visitor: Visitor, request: RequestHead, response: ResponseHead, rest: bytes) -> None:
        """Relay the final head, joined with what is there of the body."""
        framing, length = response.framing, response.length
        # RFC 9112 §6.1: no chunked coding to HTTP/1.0
        sent_as = Framing.CLOSE if request.http10 and framing is Framing.CHUNKED else framing
        connection = visitor.responding(response, closes=sent_as is Framing.CLOSE)
        if response is self._sent_for and (sent_as, connection) == self._sent_as:
            head = self._sent
        else:
            head = response_head(response, sent_as, connection)
            if response is self._seen:
                self._sent_for, self._sent_as, self._sent = response, (sent_as, connection), head
        self._keep = response.keep_alive and not visitor.sending
        if framing is Framing.LENGTH and len(rest) == length:  # most answers
            visitor.relay(head + rest, length)
            self._finish(visitor)
        elif framing is Framing.NONE:
            self._keep = self._keep and not rest
            visitor.relay(head, 0)
            self._finish(visitor)
        elif framing is Framing.CLOSE:
            self._state = _CLOSE
            visitor.relay(head + rest, len(rest))
        else:
            chunked = framing is Framing.CHUNKED
            self._state = _BODY
            self._body = Body(CHUNKED if chunked else length, chunked_out=sent_as is Framing.CHUNKED)
            self._read_body(visitor, rest, head)

    def _read_body(self, visitor: Visitor, data: bytes, head: bytes = b"") -> None:
        """Relay `head` and what `data` holds of the body."""
        body = self._body
        assert body is not None
        try:
            wire, rest = body.feed(data)
        except RemoteProtocolError as error:
            self.abandon()
            reason = f"the local service's answer is not valid HTTP/1.1: {error}"
            if head:  # nothing of it has been relayed
                visitor.no_answer(reason, retry=False)
            else:
                visitor.cut(reason)
            return
        if head or wire:
            visitor.relay(head + wire if head else wire, body.payload)
        if body.done:
            # What follows the body belongs to no response: the stream is not used again.
            self._keep = self._keep and not rest
            self._finish(visitor)

    def _finish(self, visitor: Visitor) -> None:
        """The answer has been relayed whole."""
        self._visitor = None
        self._request = None
        self._body = None
        keep = self._keep and self._stream is not None and not self._full
        self._state = _IDLE if keep else _DEAD
        visitor.answered(self, reusable=keep)
