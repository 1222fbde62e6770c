"""One request and its answer. An exchange routes, relays, counts and records them, or refuses the request.

It uses no socket and no framing of the visitor's side: the connection that carries it (`Downstream`) reads requests and
writes answers. An HTTP/1.1 connection uses one exchange again and again; a multiplexing connection has many.
"""

from __future__ import annotations

import logging

from ferry.errors import Refusal, RemoteProtocolError
from ferry.limiters.shortage import Standing
from ferry.policy.grants import Grant
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.streams import Direction, ExchangeTap, OpenFailure
from ferry.tasks import spawn
from ferry.visits import request_visit

from . import pages, phases
from .backend import Backend, Backends
from .bound import BoundStream
from .downstream import Downstream
from .forwarding import Forwarding
from .lasting import announce
from .misses import look_up
from .pace import Paces
from .phases import ExchangePhase, Row
from .shared import Shared
from .upstream import Upstream

_log = logging.getLogger("ferry.edge")

# Members as plain globals: a look-up on the class for each request is slower.
_IDLE, _, _SENDING, _, _EARLY, _ANSWERING, _RAW = ExchangePhase
_SILENT, _AWAITS = Standing.SILENT, Standing.WAITING


class Exchange:
    """The `ResponseSink` of its upstream, and the holder of a place among its tunnel's visitors.

    `since` and the counts stay until the next request.
    """

    __slots__ = (
        "_backends",
        "_bound",
        "_downstream",
        "_forwarding",
        "_paces",
        "_retried",
        "_shared",
        "_upstream",
        "_write_paused",
        "answer",
        "backend",
        "down",
        "phase",
        "placed",
        "request",
        "since",
        "status",
        "tap",
        "up",
    )

    def __init__(self, shared: Shared, downstream: Downstream, backends: Backends, forwarding: Forwarding) -> None:
        self._shared = shared
        self._downstream = downstream
        self._backends = backends
        self._forwarding = forwarding
        self.phase = _IDLE
        self._write_paused = False  # the visitor takes nothing of the answer
        self._bound: BoundStream | None = None  # from the first log-in by NTLM or Negotiate on
        self.since = shared.clock.monotonic()
        # of this request
        self.request: RequestHead | None = None
        self.answer: ResponseHead | None = None  # the last final head; it answers this request if `status` is set
        self.backend: Backend | None = None
        self._upstream: Upstream | None = None
        self.placed = False  # it holds one of the backend's places
        self.tap: ExchangeTap | None = None
        self._retried = False
        self.status = self.up = self.down = 0
        self._paces = Paces()

    # --- the request

    def begin(self, request: RequestHead) -> None:
        """Serve `request`. The exchange may be over when this returns."""
        self.request = request
        self.since = self._shared.clock.monotonic()
        self.status = self.up = self.down = 0
        self._retried = False
        backend = self._backends.get(request.host)
        if backend is not None:
            self._dispatch(backend, request, self.since)
        else:
            self._find(request)

    def _find(self, request: RequestHead) -> None:
        """Send the request to its host's backend if this visitor may visit it. Otherwise answer it."""
        host = request.host
        found = self._backends.find(host, self._downstream)
        if isinstance(found, Refusal):
            self.refuse(403, found.public)
        elif found is not None:
            self._dispatch(found[0], request, self.since, found[1])
        elif host == self._shared.domain:
            self.refuse(200 if self._shared.own_page().is_asked_for(request) else 404, pages.IS_GATEWAY)
        elif self._step(phases.LOOK_UP):
            spawn("edge.explain-miss", look_up(self._shared.is_reserved, host, self._looked_up))

    def decline(self, request: RequestHead, status: int, reason: str) -> None:
        """Refuse `request` without a look at its host's tunnel."""
        self.request = request
        self.since = self._shared.clock.monotonic()
        self.up = self.down = 0
        self.refuse(status, reason)

    def _looked_up(self, reserved: bool) -> None:
        """The look-up is over. If the visitor has left meanwhile, the phase stays, and no answer is sent."""
        before = self.phase
        self._step(phases.LOOKED_UP)
        if self.phase is not before:
            self.refuse(503, pages.NOT_CONNECTED) if reserved else self.refuse(404, pages.NO_TUNNEL)

    def _dispatch(self, backend: Backend, request: RequestHead, now: float, grant: Grant | None = None) -> None:
        """`grant` is for this visitor. Without one, the backend has a grant for all visitors."""
        self.backend = backend
        tunnel = backend.tunnel
        self.tap = None if tunnel.tap is None else tunnel.tap.begin(request)
        if request.loop and self._shared.loops.closed(request.loop, backend.mark):
            self.refuse(508, pages.LOOP)
            return
        if not backend.places.enter(self, _SILENT if request.length else _AWAITS, now):
            self.refuse(503, pages.BUSY)
            return
        self.placed = True
        forwarding = self._forwarding
        data = forwarding.wire if request is forwarding.wire_of else forwarding.head(request, backend)
        if request.length:
            if not self._step(phases.ASK_WITH_BODY):
                return
            try:
                wire, self.up, whole = self._downstream.first_body(request)
            except RemoteProtocolError as error:
                self.refuse(error.status, str(error))
                return
            data += wire
            if whole:
                self.sent()
        elif (phase := phases.ASK[self.phase]) is not None:
            self.phase = phase
        else:
            self._illegal(phases.ASK)
            return
        upstream = self._upstream = self._upstream_for(backend, request, grant)
        if self.tap is not None:
            self.tap.seen(Direction.UP, data)
        tunnel.traffic.up += self.up
        upstream.begin(self, request, data, self._downstream.peer if request.upgrade else self._shared.gateway)
        if self._write_paused:
            upstream.pause_reading()

    def _upstream_for(self, backend: Backend, request: RequestHead, grant: Grant | None) -> Upstream:
        bound = self._bound
        if bound is not None and (own := bound.take(backend.tunnel, upgrade=bool(request.upgrade))) is not None:
            return own
        idle = None if request.upgrade or self._retried else backend.take(self.since)
        return idle or backend.new_stream(grant)

    @property
    def sending(self) -> bool:
        """Some of the request's body is still to come."""
        return self.phase is _SENDING or self.phase is _EARLY

    @property
    def takes_chunks(self) -> bool:
        assert self.request is not None
        return self._downstream.takes_chunks(self.request)

    def send(self, data: bytes, size: int) -> None:
        """Send more of the body, framed for the service, or more bytes after 101. `size` counts the payload."""
        upstream, backend = self._upstream, self.backend
        assert upstream is not None
        assert backend is not None
        self.up += size
        backend.tunnel.traffic.up += size
        if self.tap is not None:
            self.tap.seen(Direction.UP, data)
        upstream.write(data)

    def sent(self) -> None:
        """The whole body of the request has been read."""
        self._step(phases.SENT)

    def fail(self, status: int, reason: str, *, last: bool = False) -> None:
        """End the exchange: read no more of the request, and answer it with `status` if no answer has begun."""
        self._abandon()
        self.cut(reason) if self.status else self.refuse(status, reason, last=last)

    def visitor_ended(self) -> None:
        """The visitor has sent end-of-file. It waits for its answer, or it is gone: TCP does not tell which."""
        if self.backend is not None:
            self.backend.places.ended(self, self._shared.clock.monotonic())

    def detach(self) -> bool:
        """The connection is gone. Returns whether `visitor_left` has a stream to close and a visit to record."""
        self._leave_place()
        if self._upstream is not None:
            self._upstream.detach()
        return self._upstream is not None

    def visitor_left(self) -> None:
        """End what the connection has left, after `detach`. It calls nothing after this."""
        if self._upstream is not None:
            self._abandon()
            self._record("the visitor left")
        self._step(phases.BREAK)
        if self._bound is not None:
            self._bound.close()
        del self._downstream  # each held the other; the cycle collector takes 6 % of a connection's CPU to free them

    # --- the answer (`ResponseSink`)

    def interim(self, response: ResponseHead) -> None:
        if head := self._downstream.interim(response):
            self.relay(head, 0)

    def responding(self, response: ResponseHead, framing: Framing) -> bytes:
        request = self.request
        assert request is not None
        phase = phases.HEAD[self.phase]
        if phase is None:
            self._illegal(phases.HEAD)
            return b""
        self.phase = phase
        self.status = response.status
        self.answer = response
        if response.binds_connection or request.binds_connection:
            self._bound = BoundStream()  # one that is there has nothing: this request has taken its stream
        return self._downstream.head(response, framing)

    def relay(self, data: bytes, size: int) -> None:
        backend = self.backend
        assert backend is not None
        self.down += size
        backend.tunnel.traffic.down += size
        if self.tap is not None:
            self.tap.seen(Direction.DOWN, data)
        self._downstream.write(data)

    def unfinished(self) -> None:
        announce(self.backend, self.request, self.answer, self._downstream.peer)

    def answered(self, *, reusable: bool) -> None:
        whole = self.phase is _ANSWERING
        upstream, backend = self._upstream, self.backend
        assert upstream is not None
        assert backend is not None
        phase = phases.ANSWERED[self.phase]
        if phase is None:
            self._illegal(phases.ANSWERED)
            return
        self.phase = phase
        now = self._record("")
        if not whole:
            upstream.abandon()
        elif not reusable:
            upstream.discard()
        else:
            self._keep(upstream, backend, now)
        self._downstream.answered(now, whole=whole)

    def _keep(self, upstream: Upstream, backend: Backend, now: float) -> None:
        request = self.request
        assert request is not None
        if self._write_paused:
            upstream.resume_reading()
            if not upstream.alive:  # the buffered bytes belong to no request
                return
        if self._bound is not None:
            self._bound.keep(upstream)
        elif request.upgrade:
            upstream.discard()  # it was dialled with this visitor's address
        else:
            backend.keep(upstream, now)

    def cut(self, reason: str) -> None:
        self._record(reason)
        self._step(phases.BREAK)
        self._downstream.broken()

    def not_opened(self, failure: OpenFailure) -> None:
        if failure is not OpenFailure.GONE or not self._dispatch_again(not_to=self.backend):
            self.refuse(*pages.OPEN_FAILURES[failure])

    def no_answer(self, reason: str, *, retry: bool) -> None:
        if not (retry and self._dispatch_again(not_to=None)):
            self.refuse(502, reason)

    def _dispatch_again(self, *, not_to: Backend | None) -> bool:
        """Send the request once more, on a new stream: the idle stream was dead, or another tunnel has taken over.

        RFC 9110 §9.2.2: only an idempotent request, and only one that can be sent again as a whole.
        """
        request = self.request
        assert request is not None
        if not request.may_retry or self._retried:
            return False
        found = self._backends.find(request.host, self._downstream)
        if found is None or isinstance(found, Refusal) or found[0] is not_to:
            return False
        if not self._step(phases.AGAIN):
            return True
        self._retried = True
        self._forwarding.forget()  # the other tunnel may have another Host
        self._leave_place()
        if self.tap is not None:
            self.tap.ended(RemoteProtocolError("the request was sent again on another stream"))
        self._dispatch(found[0], request, self._shared.clock.monotonic(), found[1])
        return True

    # --- after 101

    def switched(self, response: ResponseHead, following: bytes) -> None:
        if not self._step(phases.SWITCH):
            return
        self.status = 101
        announce(self.backend, self.request, response, self._downstream.peer)
        self._downstream.switched(response, following)

    def raw_ended(self) -> bool:
        """The visitor has sent end-of-file after 101. Returns whether the service may still send."""
        upstream = self._upstream
        assert upstream is not None
        if upstream.ended:
            self._end_raw()
            return False
        upstream.write_eof()
        return True

    def upstream_ended(self) -> None:
        if self._downstream.ended or not self._downstream.write_eof():
            self._end_raw()
            self._downstream.closed()

    def _end_raw(self) -> None:
        upstream = self._upstream
        assert upstream is not None
        if self._step(phases.RAW_ENDED):
            self._record("")
            upstream.discard()

    def upstream_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.cut(f"the tunnel broke: {error}")
        elif self._step(phases.RAW_ENDED):
            self._record("")
            self._downstream.closed()

    # --- back-pressure

    def pause_sending(self) -> None:
        if self.sending or self.phase is _RAW:
            self._downstream.pause_reading()

    def resume_sending(self) -> None:
        self._downstream.resume_reading()

    def pause_writing(self) -> None:
        """The visitor does not read fast enough: take no more of the answer."""
        self._write_paused = True
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        """Undo `pause_writing`."""
        self._write_paused = False
        self._paces.stop_reading()
        if self._upstream is not None:
            self._upstream.resume_reading()

    # --- its place among the tunnel's visitors (`ferry.limiters.shortage.Holder`)

    @property
    def host(self) -> str:
        return self._downstream.peer.host

    def standing(self) -> tuple[Standing, int]:
        if self.status:
            paused = self._write_paused
            return (Standing.UNREAD, self.acknowledged) if paused else (Standing.STREAM, self.up + self.down)
        if self.phase is _SENDING and self._body_due():
            return Standing.SILENT, self.up
        # After its end-of-file nginx, Envoy and Go take a visitor for gone; to HAProxy it waits. We serve it while there
        # is room; once the tunnel has no place left, it is the first to lose its place.
        return (Standing.GONE if self._downstream.ended else Standing.WAITING), 0

    def last_check(self) -> tuple[float, int] | None:
        if not self.status:
            return self.since, 0
        read = self._paces.read
        return None if read is None else (read.since, read.moved)

    def displace(self) -> None:
        self.fail(503, pages.DISPLACED, last=True)

    def _leave_place(self) -> None:
        if self.placed:
            assert self.backend is not None
            self.placed = False
            self.backend.places.leave(self)

    # --- slow visitors

    def check_pace(self, now: float) -> None:
        """Cut a visitor that sends or reads too slowly, but not after 101 or in an event stream: silence is part of it."""
        if self.phase is _RAW or (self.status and self.answer is not None and self.answer.event_stream):
            return
        bounds = self._shared.bounds
        window = bounds.pace_seconds if self.backend is None else self.backend.pace_seconds
        due, paces = self.sending and self._body_due(), self._paces
        if paces.body_behind(now, self.up, due=due, rate=bounds.body_min_rate, window=window):
            self.fail(408, "the request's body came too slowly")  # RFC 9110 §15.5.9
        elif self._write_paused and paces.read_behind(now, self.acknowledged, rate=bounds.read_min_rate, window=window):
            self.give_up("the visitor read its answer too slowly")

    @property
    def acknowledged(self) -> int:
        """The bytes of this answer that the visitor's system has taken, counted from any start."""
        return self.down - self._downstream.unacknowledged()

    def _body_due(self) -> bool:
        """Whether the exchange waits for the visitor, not for the service."""
        if self._downstream.read_paused:
            return False
        request, upstream = self.request, self._upstream
        assert request is not None
        assert upstream is not None
        # RFC 9110 §10.1.1: the visitor may wait for 100 (Continue) before it sends
        return not request.expects_continue or self.up > 0 or upstream.has_sent_interim

    # --- ends

    def give_up(self, reason: str) -> None:
        """Drop the rest of the answer and cut the visitor."""
        self._abandon()
        self.cut(reason)

    def _abandon(self) -> None:
        if self._upstream is not None:
            self._upstream.abandon()

    def refuse(self, status: int, reason: str, *, last: bool = False) -> None:
        """Write an answer of our own. With `last` the connection ends in any case."""
        if not self._step(phases.REFUSE):
            return
        self.status, self.answer = status, None
        downstream = self._downstream
        if self.backend is not None:
            self._record(reason)
        else:
            self._shared.refused(downstream.scheme, downstream.peer, status, reason)
        downstream.refused(status, reason, last=last)

    def _record(self, note: str) -> float:
        """The request is over: report the visit, once for each request to a tunnel. Returns the current time."""
        now = self._shared.clock.monotonic()
        self._leave_place()
        backend, request = self.backend, self.request
        if backend is not None:
            assert request is not None
            self.backend = self._upstream = None
            if self.tap is not None:
                tap, self.tap = self.tap, None
                tap.ended(RemoteProtocolError(note) if note else None)
            tunnel, peer, seconds = backend.tunnel, self._downstream.peer, now - self.since
            tunnel.traffic.visits += 1
            tunnel.visited(request_visit(tunnel, peer, request, self.status, seconds, self.up, self.down, note))
        return now

    # --- phases

    def _step(self, row: Row) -> bool:
        """Take a step. The steps of each request do this inline instead, because a call costs 0.1 µs."""
        phase = row[self.phase]
        if phase is None:
            self._illegal(row)
            return False
        self.phase = phase
        return True

    def _illegal(self, row: Row) -> None:
        """End the exchange after a step that the table does not allow."""
        _log.error("ended an exchange: illegal step in phase %s: %s", self.phase.name, phases.name(row))
        self._abandon()
        self.cut(pages.OUR_FAULT)
