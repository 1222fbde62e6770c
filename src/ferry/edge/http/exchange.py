"""One request and its answer: how it is counted, relayed, recorded and refused, and what becomes of the connection."""

from __future__ import annotations

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.policy.shortage import Standing
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.registry.routes import Visit
from ferry.streams import Direction

from . import pages
from .connection import STREAM_FULL, Phase
from .heads import HeadReader
from .pace import Pace
from .pool import Pool
from .state import EdgeState
from .upstream import Upstream

# Members as plain globals: looking one up on its class for every packet is slower.
_HEAD, _LOOKUP, _BODY, _ANSWER, _RAW, _LINGER, _CLOSED = Phase
_GOES_ON = frozenset((404, 502, 503, 504, 508))  # refusals after which the visitor's connection may go on


class Exchange(HeadReader):
    """What a visitor's connection knows of the request that is being served. There is one at a time."""

    __slots__ = (
        "_answer",
        "_body",
        "_body_pace",
        "_closing",
        "_down",
        "_look_at",
        "_pin",
        "_pinned",
        "_read_pace",
        "_request",
        "_status",
        "_up",
        "_upstream",
    )

    def __init__(self, edge: EdgeState, *, secure: bool) -> None:
        super().__init__(edge, secure=secure)
        self._closing = False  # no request after this one
        self._pin = False  # NTLM or Negotiate: the stream is this visitor's (RFC 4559 §6)
        self._pinned: Upstream | None = None
        # per request
        self._request: RequestHead | None = None
        self._answer: ResponseHead | None = None  # the last final head, this request's if `_status` is set
        self._upstream: Upstream | None = None
        self._body: Body | None = None  # while phase is BODY
        self._status = self._up = self._down = 0
        self._look_at = 0  # once so much has gone down, a look at how much of it is unsent
        self._body_pace: Pace | None = None
        self._read_pace: Pace | None = None

    # --- its place among the tunnel's visitors (`ferry.policy.shortage.Holder`)

    def _enter(self, pool: Pool, request: RequestHead) -> bool:
        """Take a place, if there is one or somebody has to go for this request."""
        if not pool.places.enter(self, Standing.SILENT if request.length else Standing.WAITING, self.since):
            return False
        self.pool = pool
        return True

    def _leave(self) -> None:
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.places.leave(self)

    def standing(self) -> tuple[Standing, int]:
        phase = self.phase
        if phase is _HEAD:  # it has a connection, and no other place; whoever has asked since the last look has moved
            return Standing.SILENT, int(self.since * limits.MIB) + len(self.buffer)
        if phase is _LINGER or phase is _CLOSED:
            if phase is _LINGER and self.untaken():  # it reads its last answer
                return Standing.UNREAD, self._taken()
            return Standing.GONE, 0
        if self._status:
            if self.choked:
                return Standing.UNREAD, self._taken()
            return Standing.STREAM, self._up + self._down
        if phase is _BODY and self._body_due():
            return Standing.SILENT, self._up
        # An end-of-file may be a half-close that waits for its answer, or a program that is gone: TCP does not tell
        # them apart. nginx, Envoy and Go take it for the latter, HAProxy for the former. Here it is served, as long as
        # there is room: when the tunnel has none left, it is the first to go.
        return (Standing.GONE if self.ended else Standing.WAITING), 0

    def looked_at(self) -> tuple[float, int] | None:
        if self.phase is _HEAD:
            return None
        if not self._status:
            return self.since, 0
        if self._read_pace is not None:
            return self._read_pace.since, self._read_pace.moved
        return None

    def displace(self) -> None:
        if self._upstream is not None:
            self._upstream.abandon()
        if self._status:
            self.cut(pages.DISPLACED)
        else:
            self.refuse(503, pages.DISPLACED, last=True)

    def disconnect(self) -> None:
        if self.phase is _HEAD and not self.transport.get_write_buffer_size():
            self.shut()  # else it would be kept until its last answer is read
        elif self._upstream is not None:
            self._give_up(pages.DISCONNECTED)
        else:
            self.abort()

    def turn_away(self) -> None:
        self.transport.write(pages.answer(503, pages.FULL, None, close=True, date=self.edge.dates.field()))
        self.shut()

    # --- what goes up

    @property
    def sending(self) -> bool:
        """The request's body has not been read whole."""
        return self.phase is _BODY

    def _send(self, data: bytes, size: int) -> None:
        upstream = self._upstream
        assert upstream is not None
        self._up += size
        tunnel = upstream.tunnel
        tunnel.traffic.up += size
        if (tap := tunnel.tap) is not None:
            tap.seen(Direction.UP, data)
        upstream.write(data)

    # --- called by the upstream

    def responding(self, response: ResponseHead, *, closes: bool) -> bytes:
        """The final head is about to be relayed; returns what its Connection field must say, if anything."""
        request = self._request
        assert request is not None
        self._status = response.status
        self._answer = response
        if response.binds_connection or request.binds_connection:
            self._pin = True
        # RFC 9112 §9.6: `close` tells that no more requests will be read. An answer before the end of the body, and
        # an upgrade that was refused with bytes of the new protocol already here, leave no place to go on from.
        doubt = self.phase is _BODY or (request.upgrade and self.buffer)
        if closes or doubt or not request.keep_alive or self.edge.draining:
            self._closing = True
            return b"close"
        return b"keep-alive" if request.http10 else b""

    def relay(self, data: bytes, size: int) -> None:
        """Bytes for the visitor, `size` of which are payload."""
        upstream = self._upstream
        assert upstream is not None
        tunnel = upstream.tunnel
        self._down += size
        tunnel.traffic.down += size
        if (tap := tunnel.tap) is not None:
            tap.seen(Direction.DOWN, data)
        if self.ended and self.phase is not _RAW:
            self.expire_in(self.edge.bounds.half_closed_seconds)
        self.transport.write(data)
        if len(data) < limits.SMALL_WRITE_BYTES and self.transport.get_write_buffer_size():
            self.wrote_little()
        if self._down >= self._look_at:
            self._look_at = self._down + self.look_at_unsent()

    def answered(self, upstream: Upstream, *, reusable: bool) -> None:
        """The answer has been relayed whole."""
        whole = self.phase is _ANSWER
        now = self._record("")
        if not whole:
            upstream.abandon()
        elif not reusable:
            upstream.discard()
        else:
            self._keep(upstream, now)
        self.forget_unsent()
        if not self._closing:
            self._next(now)
        elif whole and not self.buffer and (self.secure or self._asked_to_close()):
            self.shut()
        else:
            self.linger()

    def _asked_to_close(self) -> bool:
        """Then nothing more comes from the visitor. Else its next request may be on the way, and would be answered
        by a reset that destroys this answer; but TLS has no way to close one direction (RFC 9112 §9.6, §9.8)."""
        request = self._request
        assert request is not None
        return not request.keep_alive

    def _keep(self, upstream: Upstream, now: float) -> None:
        if self.choked:
            upstream.release()
            if not upstream.alive:  # what was held was not asked for
                return
        if self._pin:
            self._pinned = upstream
        else:
            upstream.rest(now)

    def _next(self, now: float) -> None:
        self.phase = _HEAD
        self.begun = False
        self.deadline = now + self.edge.bounds.keepalive_seconds
        if self.paused:
            self.resume(STREAM_FULL)
        if self.buffer or self.ended or self.paused:
            self.read_heads()
        elif self.edge.draining:
            self.shut()

    def cut(self, reason: str) -> None:
        """The answer broke off in the middle."""
        self._record(reason)
        self.abort()

    # --- slow visitors

    def check_pace(self, now: float) -> None:
        """Called by the tick while a body is due from the visitor or it does not read. Free of charge are protocols
        after an upgrade and event streams: silence is part of them."""
        if self._status and self._answer is not None and self._answer.event_stream:
            return
        bounds = self.edge.bounds
        window = bounds.pace_seconds
        if self.pool is not None and self.pool.places.taken > bounds.visitors_per_tunnel // 2:
            window = min(window, limits.CROWDED_PACE_SECONDS)
        if self.phase is _BODY and self._body_due():
            pace = self._body_pace
            if pace is None:
                self._body_pace = Pace(now, self._up)
            elif pace.behind(now, self._up, rate=bounds.body_min_rate, window=window):
                self._too_slow("the request's body came too slowly")
                return
        else:
            self._body_pace = None
        if self.choked and self.phase in (_HEAD, _BODY, _ANSWER):
            read = self._taken()
            if self._read_pace is None:
                self._read_pace = Pace(now, read)
            elif self._read_pace.behind(now, read, rate=bounds.read_min_rate, window=window):
                self._give_up("the visitor read its answer too slowly")

    def _taken(self) -> int:
        """How much of this answer the visitor's system has taken, in bytes of payload and from any beginning."""
        return self._down - self.untaken()

    def _body_due(self) -> bool:
        """Whether it is the visitor that is waited for, not the service."""
        if self.paused:
            return False
        request, upstream = self._request, self._upstream
        assert request is not None
        assert upstream is not None
        # RFC 9110 §10.1.1: it may wait for 100 (Continue) before it sends
        return not request.expects_continue or self._up > 0 or upstream.encouraged

    def _too_slow(self, reason: str) -> None:
        if self._status:
            self._give_up(reason)
        else:
            if self._upstream is not None:
                self._upstream.abandon()
            self.refuse(408, reason)  # RFC 9110 §15.5.9

    def _give_up(self, reason: str) -> None:
        if self._upstream is not None:
            self._upstream.abandon()
        self.cut(reason)

    # --- our own answers

    def refuse(self, status: int, reason: str, *, doubt: bool = False, last: bool = False) -> None:
        """As `HeadReader.refuse`; with `last` the connection ends in any case."""
        if doubt:
            self._request = None
        request, upstream = self._request, self._upstream
        self._status = status
        self._answer = None
        if upstream is None:
            edge = "https" if self.secure else "http"
            self.edge.report("edge.refused", edge=edge, status=status, peer=str(self.peer), reason=reason)
        else:
            self._record(reason)
        goes_on = (
            status in _GOES_ON
            and not last
            and request is not None
            and request.keep_alive
            and not request.length
            and not request.upgrade
            and not self.edge.draining
        )
        self.transport.write(pages.answer(status, reason, request, close=not goes_on, date=self.edge.dates.field()))
        if self.transport.is_closing():  # the write has found that the visitor is gone: what it pipelined is nobody's
            self.shut()
        elif goes_on:
            self._next(self.edge.clock.monotonic())
        else:
            self.linger()

    def _record(self, note: str) -> float:
        """The request is over: tell the tunnel's owner, once for each request that came to a tunnel. Returns the
        time, which the caller may need too."""
        now = self.edge.clock.monotonic()
        if self.pool is not None:
            self._leave()
        upstream, request = self._upstream, self._request
        if upstream is not None:
            assert request is not None
            self._upstream = None
            tunnel = upstream.tunnel
            tunnel.traffic.visits += 1
            if (tap := tunnel.tap) is not None:
                tap.ended(RemoteProtocolError(note) if note else None)
            method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
            tunnel.visited(
                Visit(
                    tunnel.id,
                    tunnel.shown_address,
                    tunnel.kind,
                    self.peer,
                    method,
                    target,
                    self._status,
                    now - self.since,
                    self._up,
                    self._down,
                    note,
                )
            )
        return now
