"""One stream to a tunnel's local service. It carries one request at a time, reads the answer and relays it.

This module checks the answer before any of it reaches the visitor, and decides whether the stream may be used again. It
may if the whole request was sent, the response had a length or chunks and ended where they said, both sides wanted to
go on, and the service sent no byte beyond.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.names import Endpoint
from ferry.policy.grants import Grant
from ferry.protocol.http1.authority import parse_authority
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.framing import CHUNKED, Framing
from ferry.protocol.http1.octets import head_length, list_tokens
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead, check_beginning, parse_response
from ferry.registry.routes import Tunnel
from ferry.streams import OpenFailure, Stream

from .hints import WORTH_A_LOOK, Hints, NoTarget
from .pages import NOT_VALID
from .response_sink import ResponseSink
from .round import Round
from .shared import Shared
from .tunnel_tls import dial_tls


class _UpstreamState(enum.Enum):
    IDLE = enum.auto()  # no request: idle in the backend, or bound to its visitor
    HEAD = enum.auto()
    BODY = enum.auto()  # its framing tells its end
    CLOSE = enum.auto()  # a body that ends with the stream
    RAW = enum.auto()  # after 101
    DEAD = enum.auto()


class _StreamPause(enum.IntFlag):
    """The reasons for not reading from the stream."""

    VISITOR = 1
    """The visitor does not read fast enough."""
    BEHIND = 2
    """The service has sent more than one piece of work (`round`)."""


# Members as plain globals: a look-up on the class for each packet is slower.
_IDLE, _HEAD, _BODY, _CLOSE, _RAW, _DEAD = _UpstreamState
_VISITOR, _BEHIND = int(_StreamPause.VISITOR), int(_StreamPause.BEHIND)
_NO_BODY, _OF_LENGTH, _CHUNKED, _UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE


class Upstream:
    """The `ferry.streams.Sink` of one stream. It calls `lost` if the stream ends while idle."""

    __slots__ = (
        "_behind",
        "_body",
        "_buffer",
        "_end",
        "_grant",
        "_head",
        "_hints",
        "_interims",
        "_keep",
        "_lost",
        "_method",
        "_read_paused",
        "_request",
        "_round",
        "_seen",
        "_shared",
        "_sink",
        "_state",
        "_stream",
        "_write_paused",
        "ended",
        "idle_since",
        "reused",
        "tunnel",
    )

    def __init__(
        self,
        shared: Shared,
        round_: Round,
        tunnel: Tunnel,
        grant: Grant,
        hints: Hints,
        lost: Callable[[Upstream], None],
    ) -> None:
        self._shared = shared
        self._round = round_
        self.tunnel = tunnel
        self._grant = grant
        self._hints = hints
        self._lost = lost
        self._state = _IDLE
        self._stream: Stream | None = None
        self._sink: ResponseSink | None = None
        self._request: RequestHead | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._head = self._method = b""  # the last head, and the method that it answered
        self._seen: ResponseHead | None = None  # the same head, parsed
        self._interims = 0
        self._keep = False
        self.ended = False
        self._write_paused = False
        self._read_paused = 0  # flags of `_StreamPause`
        self._behind = False  # it waits in the round
        self._end: tuple[Exception | None] | None = None  # the end of the stream, if it came during that wait
        self.reused = False
        self.idle_since = 0.0

    # --- the request

    def begin(self, sink: ResponseSink, request: RequestHead, data: bytes, originator: Endpoint) -> None:
        """Send `data` (the head, and the body's bytes that are here already) and give the answer to `sink`."""
        self._sink = sink
        self._request = request
        self._state = _HEAD
        self._interims = 0
        stream = self._stream
        if stream is None:
            tunnel = self.tunnel
            if tunnel.tls_upstream:
                seconds = self._shared.bounds.local_tls_seconds
                dial = partial(tunnel.dial, self._grant, originator)
                name = parse_authority(tunnel.host_header).host if tunnel.host_header else request.host
                stream = dial_tls(self._shared.tls, dial, self, name.strip("[]"), seconds=seconds)
            else:
                stream = tunnel.dial(self._grant, originator, self)
            if self._state is _DEAD:  # `dial` has refused at once
                return
            self._stream = stream
        else:
            self.reused = True
        stream.write(data)

    def write(self, data: bytes) -> None:
        """Write more of the request's body, or more bytes after an upgrade."""
        if self._stream is not None:
            self._stream.write(data)

    def write_eof(self) -> None:
        """The visitor has sent end-of-file after an upgrade."""
        if self._stream is not None:
            self._stream.write_eof()

    def pause_reading(self) -> None:
        """The visitor does not read fast enough: stop reading from the stream."""
        self._pause_reads(_VISITOR)

    def resume_reading(self) -> None:
        """Undo `pause_reading`. The buffered bytes may come before this returns."""
        self._resume_reads(_VISITOR)

    def _pause_reads(self, why: int) -> None:
        self._read_paused |= why
        if self._stream is not None:
            self._stream.pause_reading()

    def _resume_reads(self, why: int) -> None:
        self._read_paused &= ~why
        if not self._read_paused and self._stream is not None:
            self._stream.resume_reading()

    def abandon(self) -> None:
        """The visitor needs no answer any more: drop the stream at once."""
        self.detach()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort()

    def discard(self) -> None:
        """Close in good order, after a whole answer or without a request."""
        self.detach()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    @property
    def has_sent_interim(self) -> bool:
        """The service has sent an interim response, as a visitor may wait for: 100 (Continue)."""
        return self._interims > 0

    @property
    def alive(self) -> bool:
        """It can carry another request."""
        return self._state is _IDLE

    def detach(self) -> None:
        """Call the sink no more, and drop what still comes."""
        self._state = _DEAD
        self._sink = None

    # --- Sink

    def stream_opened(self) -> None:
        pass

    def stream_refused(self, failure: OpenFailure) -> None:
        sink = self._sink
        self.detach()
        self._stream = None
        if sink is not None:
            sink.not_opened(failure)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._sink is not None:
            self._sink.pause_sending()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._sink is not None:
            self._sink.resume_sending()

    def data_received(self, data: bytes) -> None:
        state = self._state
        sink = self._sink
        if sink is None:
            if state is _IDLE:  # bytes without a request
                self._drop_idle()
        elif state is _HEAD:
            self._read_head(sink, data)
        elif state is not _BODY:  # after 101, or a body that ends with the stream
            sink.relay(data, len(data))
        elif self._behind:
            self._buffer += data
        else:
            self._read_body(sink, data)

    def eof_received(self) -> None:
        sink = self._sink
        if sink is None:
            if self._state is _IDLE:
                self._drop_idle()
        elif self._state is _RAW:
            self.ended = True
            sink.upstream_ended()
        elif self._state is _HEAD and not self._buffer and self._hints.may_lack_target:
            self._fall_behind(b"")  # a stream that closes in this turn has no service behind it (`hints.NoTarget`)
        else:
            self._over(sink, None)

    def stream_lost(self, error: Exception | None) -> None:
        sink = self._sink
        self._stream = None
        if sink is None:
            if self._state is _IDLE:
                self._drop_idle()
        elif self._state is _RAW:
            self.detach()
            sink.upstream_lost(error)
        else:
            self._over(sink, error)

    def _drop_idle(self) -> None:
        self._lost(self)
        self.discard()

    def _over(self, sink: ResponseSink, error: Exception | None) -> None:
        """The stream has ended."""
        if self._behind:
            self._end = (error,)
            self._keep = False
            return
        state = self._state
        if state is _CLOSE and error is None:
            self._finish(sink)
            return
        untouched = state is _HEAD and not self._buffer and not self._interims
        self.abandon()
        if state is _HEAD:
            sink.no_answer(self._hints.why_none(error), retry=untouched and self.reused)
        else:
            sink.cut("the local service broke off in the middle of its answer")

    # --- the answer

    def _read_head(self, sink: ResponseSink, data: bytes) -> None:
        request = self._request
        assert request is not None
        buffer = self._buffer + data if self._buffer else data
        if request.method == self._method and buffer.startswith(self._head):
            # The same bytes in answer to the same method mean the same, and services often repeat a head within a
            # second.
            response = self._seen
            assert response is not None
            self._buffer = b""
            self._respond(sink, response, buffer[len(self._head) :])
            return
        most_line, most_head = limits.REQUEST_LINE_BYTES, limits.RESPONSE_HEAD_BYTES
        seen = len(self._buffer)  # the buffer has only the beginning of a head
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
                    self._switch(sink, request, response, buffer)
                    return
                self._interim(sink, response)
        except RemoteProtocolError as error:
            self.abandon()
            sink.no_answer(self._hints.why_invalid(buffer, error), retry=False)
            return
        self._buffer = b""
        if response.status in WORTH_A_LOOK:
            sink.tap = self._hints.watch(sink.tap, request, response)
        self._respond(sink, response, buffer)

    def _parse(self, head: bytes, method: bytes) -> ResponseHead:
        response = parse_response(head, method=method, most_fields=limits.RESPONSE_HEAD_FIELDS)
        if response.status >= 200 and len(head) <= limits.HEAD_REMEMBERED_BYTES:
            self._head, self._method, self._seen = head, method, response
        return response

    def _interim(self, sink: ResponseSink, response: ResponseHead) -> None:
        self._interims += 1
        if self._interims > limits.INTERIM_RESPONSES:
            raise RemoteProtocolError(f"more than {limits.INTERIM_RESPONSES} interim responses")
        sink.interim(response)

    def _switch(self, sink: ResponseSink, request: RequestHead, response: ResponseHead, following: bytes) -> None:
        # RFC 9110 §7.8: a server must not switch to a protocol that the client did not offer
        chosen = list_tokens(response.upgrade)
        if not chosen or not set(chosen) <= set(list_tokens(request.upgrade)):
            raise RemoteProtocolError("101 to a request that did not ask for this protocol")
        self._buffer = b""
        self._state = _RAW
        sink.switched(response, following)

    def _respond(self, sink: ResponseSink, response: ResponseHead, data: bytes) -> None:
        """Relay the final head, joined with the body's bytes that are here already."""
        framing, length = response.framing, response.length
        sent_as = _UNTIL_CLOSE if framing is _CHUNKED and not sink.takes_chunks else framing
        body, size, more = None, len(data), b""
        if framing is _CHUNKED or (framing is _OF_LENGTH and size != length):
            body = Body(CHUNKED if framing is _CHUNKED else length, chunked_out=sent_as is _CHUNKED)
            try:
                data, more = body.feed(data)
            except RemoteProtocolError as error:
                self.abandon()
                sink.no_answer(f"{NOT_VALID}: {error}", retry=False)
                return
            size = body.payload
        elif framing is _NO_BODY:
            data, more, size = b"", data, 0
        head = sink.responding(response, sent_as)
        if self._state is _DEAD:
            return
        # Bytes after the body belong to no response: do not use the stream again.
        done = body is None or body.done
        self._keep = response.keep_alive and not sink.sending and not (done and more)
        sink.relay(head + data, size)
        if done and framing is not _UNTIL_CLOSE:
            self._finish(sink)
            return
        self._state, self._body = _CLOSE if framing is _UNTIL_CLOSE else _BODY, body
        sink.unfinished()
        if more:
            self._fall_behind(more)

    def _read_body(self, sink: ResponseSink, data: bytes) -> None:
        """Relay the body's bytes in `data`."""
        body = self._body
        assert body is not None
        try:
            wire, more = body.feed(data)
        except RemoteProtocolError as error:
            self.abandon()
            sink.cut(f"{NOT_VALID}: {error}")
            return
        if wire:
            sink.relay(wire, body.payload)
        if body.done:
            self._keep = self._keep and not more
            self._finish(sink)
        elif more:
            self._fall_behind(more)

    def _fall_behind(self, more: bytes) -> None:
        """`more` is another piece of work: let others have their turn first."""
        self._behind = True
        self._buffer = more
        self._pause_reads(_BEHIND)
        self._round.later(self)

    def catch_up(self) -> None:
        """As in `ferry.edge.http.round.CatchesUp`, and so is `fail`."""
        self._behind = False
        if (sink := self._sink) is None:  # the request was abandoned
            return
        if self._state is _HEAD:  # the stream has ended, or closed
            self._over(sink, (self._end[0] or NoTarget()) if self._end else None)
            return
        data, self._buffer = self._buffer, b""
        self._read_body(sink, data)
        if self._behind:
            return
        if self._end is not None and self._state is _BODY:
            self._over(sink, self._end[0])
        else:
            self._resume_reads(_BEHIND)

    def fail(self) -> None:
        if (sink := self._sink) is not None:
            self.abandon()
            sink.cut("the gateway has an internal error")

    def _finish(self, sink: ResponseSink) -> None:
        """The whole answer has been relayed."""
        self._sink = self._request = self._body = None
        keep = self._keep and self._stream is not None and not self._write_paused
        self._state = _IDLE if keep else _DEAD
        sink.answered(reusable=keep)
