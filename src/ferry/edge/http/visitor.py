"""One visitor's connection: its requests read in order, judged, routed, and answered in the same order.

A state machine driven by callbacks alone. There is one request at a time; bytes that come ahead of their turn wait in
a bounded buffer. Nothing here is a task, a future or a timer of its own (except to explain a miss): deadlines are
numbers that the edge's tick compares with its clock. `exchange` holds what is true of the request being served,
`upgraded` what happens after a change of protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferry import limits
from ferry.edge.unsent import Choke
from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.serialize import forwarding_fields, loop_field, request_head
from ferry.registry.contract import StoreUnavailable
from ferry.registry.routes import Tunnel
from ferry.streams import Direction, OpenFailure
from ferry.tasks import spawn

from . import pages
from .connection import READ_AHEAD, STREAM_FULL, Phase
from .pool import Pool
from .state import EdgeState
from .upgraded import Upgraded
from .upstream import Upstream

Sni = Callable[[object], str | None]
"""From a connection's SSL object to the name that its ClientHello asked for."""
CertificateFor = Callable[[str], object | None]
"""From a hostname to the certificate that serves it; compared by identity."""

# Members as plain globals: looking one up on its class for every packet is slower.
_HEAD, _LOOKUP, _BODY, _ANSWER, _RAW, _LINGER, _CLOSED = Phase
_BUFFER_FULL = int(Choke.BUFFER_FULL)


class Visitor(Upgraded):
    """The protocol of one accepted connection, plain or TLS."""

    __slots__ = (
        "_certificate_for",
        "_checked",
        "_forwarding",
        "_forwarding_for",
        "_network",
        "_port",
        "_retried",
        "_sni",
        "_wire",
        "_wire_of",
    )

    def __init__(
        self,
        edge: EdgeState,
        *,
        secure: bool,
        port: int,
        sni: Sni | None = None,
        certificate_for: CertificateFor | None = None,
    ) -> None:
        super().__init__(edge, secure=secure)
        self._port = port
        self._sni = sni
        self._certificate_for = certificate_for
        self._checked = ""  # the Host that this connection's certificate was found to serve
        self._forwarding = self._forwarding_for = b""
        self._wire_of: RequestHead | None = None  # the last request, if it was small,
        self._wire = b""  # and how it went on to the service
        self._network = ""  # what this connection is counted for in `EdgeState.crowd`
        self._retried = False  # this request was dispatched a second time

    # --- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.phase is not _HEAD:
            return
        network = self.edge.crowd.enter(self.host)
        if network is None:
            self.refuse(503, pages.CROWDED, doubt=True)
        else:
            self._network = network

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase is _BODY:
            self._send_body(data)
        elif phase is _RAW:
            self._send(data, len(data))
        elif phase is _HEAD and not self.choked:
            self.buffer = self.buffer + data if self.buffer else data
            self.read_heads()
        elif phase is not _LINGER:
            self.buffer += data
            if len(self.buffer) > limits.PIPELINE_BYTES:
                self.pause(READ_AHEAD)

    def eof_received(self) -> bool:
        """RFC 9112 §9.6. True keeps the connection open for writing, which TLS cannot."""
        self.ended = True
        phase = self.phase
        if phase is _RAW:
            return self._raw_ended()
        if phase is _ANSWER or phase is _LOOKUP or (phase is _HEAD and self.choked):
            # Its last requests get their answers as long as bytes flow; a visitor that is gone shows itself by a
            # reset at the first of them.
            self.expire_in(self.edge.bounds.half_closed_seconds)
            if self.pool is not None:
                self.pool.places.ended(self, self.edge.clock.monotonic())
            return not self.secure
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._upstream is not None:
            self._upstream.abandon()
            self._record("the visitor left")
        if self._pinned is not None:
            self._pinned.discard()
            self._pinned = None
        self.edge.crowd.leave(self._network)
        self._network = ""
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.choke(_BUFFER_FULL)

    def resume_writing(self) -> None:
        self.read_all()
        self.unchoke(_BUFFER_FULL)

    def choke(self, why: int) -> None:
        if self._upstream is not None:
            self._upstream.hold()
        self.choked |= why

    def unchoke(self, why: int) -> None:
        self.choked &= ~why
        if self.choked:
            return
        self._read_pace = None
        if self._upstream is not None:
            self._upstream.release()
        elif self.phase is _HEAD:
            self.read_heads()

    def expired(self) -> None:
        if self.phase is _HEAD and self.buffer:
            # RFC 9110 §15.5.9
            self.refuse(408, "the head did not arrive in time", doubt=True)
        elif self.phase is _HEAD:
            self.shut()
        elif self.phase is _LINGER:
            super().expired()
        else:
            self.abort()

    # --- one request

    def begin(self, request: RequestHead) -> None:
        edge = self.edge
        self._request = request
        self.since = edge.clock.monotonic()
        self.deadline = self.since + edge.bounds.half_closed_seconds if self.ended else 0.0
        self._status = self._up = self._down = 0
        self._look_at = limits.VISITOR_UNSENT_LEAST_BYTES
        self._retried = False
        host = request.host
        # RFC 9110 §15.5.20, §7.4: a certificate that was chosen for one name must not serve another's
        if host != self._checked and not self._certificate_serves(host):
            self.refuse(421, pages.WRONG_CERTIFICATE)
            return
        tunnel = edge.routes.by_host.get(host)
        if tunnel is not None:
            self._dispatch(tunnel, request)
        elif host == edge.domain:
            self.refuse(404, pages.IS_GATEWAY)
        else:
            self.phase = _LOOKUP
            spawn("edge.explain-miss", self._explain_miss(host))

    def _certificate_serves(self, host: str) -> bool:
        if self._sni is not None:
            assert self._certificate_for is not None
            name = self._sni(self.transport.get_extra_info("ssl_object"))
            if name is not None and name != host and self._certificate_for(name) is not self._certificate_for(host):
                return False
        self._checked = host
        return True

    async def _explain_miss(self, host: str) -> None:
        """The one callback here that is late by nature: the visitor may have left, so its phase is asked first."""
        known = True  # "try again" is never wrong, whatever fails
        try:
            known = await self.edge.known(host)
        except StoreUnavailable:
            pass  # the store has reported it
        finally:
            if self.phase is _LOOKUP:
                self.refuse(*((503, pages.NOT_CONNECTED) if known else (404, pages.NO_TUNNEL)))

    def _dispatch(self, tunnel: Tunnel, request: RequestHead) -> None:
        pool = Pool.of(tunnel, self.edge)
        if request.loop and self.edge.loops.closed(request.loop, pool.mark):
            self._refuse_for(tunnel, 508, pages.LOOP)
            return
        if not self._enter(pool, request):
            self._refuse_for(tunnel, 503, pages.BUSY)
            return
        if request is self._wire_of:
            data = self._wire
        else:
            data = request_head(request, self._forwarding_fields(request, pool.mark))
            if len(data) <= limits.HEAD_REMEMBERED_BYTES:
                self._wire_of, self._wire = request, data
        self.phase = _ANSWER
        if request.length:
            self.phase = _BODY
            self._body = Body(request.length)
            self._body_pace = None
            try:
                data += self._take_body(self.buffer) if self.buffer else b""
            except RemoteProtocolError as error:
                self._refuse_for(tunnel, error.status, str(error))
                return
            self.resume(READ_AHEAD)
        upstream = self._upstream = self._upstream_for(tunnel, pool, request)
        if (tap := tunnel.tap) is not None:
            tap.seen(Direction.UP, data)
        tunnel.traffic.up += self._up
        upstream.begin(self, request, data, self.peer if request.upgrade else self.edge.gateway)
        if self.choked:
            upstream.hold()

    def _refuse_for(self, tunnel: Tunnel, status: int, reason: str) -> None:
        """Before there is a stream: the place, if it has one, is given back, and the owner is told."""
        self._upstream = Upstream(self.edge, tunnel, None)  # never begun: it stands for the tunnel in the record
        self.refuse(status, reason)

    def _forwarding_fields(self, request: RequestHead, mark: bytes) -> bytes:
        """Who visits and how, and what the request has come through. `mark` is the same for the same authority."""
        authority = request.authority
        if authority != self._forwarding_for or request.loop:
            fields = forwarding_fields(self.host, authority, secure=self.secure, port=self._port)
            if request.loop:
                return fields + loop_field(request.loop, mark)
            self._forwarding = fields + loop_field(b"", mark)
            self._forwarding_for = authority
        return self._forwarding

    def _upstream_for(self, tunnel: Tunnel, pool: Pool, request: RequestHead) -> Upstream:
        pinned, self._pinned = self._pinned, None
        if pinned is not None:
            if pinned.alive and pinned.tunnel is tunnel and not request.upgrade:
                return pinned
            pinned.discard()
        if request.upgrade:
            return Upstream(self.edge, tunnel, None)
        return (None if self._retried else pool.take(self.since)) or Upstream(self.edge, tunnel, pool)

    def _take_body(self, data: bytes) -> bytes:
        """What of `data` belongs to the body, framed for the service; the rest is read ahead."""
        body = self._body
        assert body is not None
        wire, self.buffer = body.feed(data)
        self._up += body.payload
        if body.done:
            self._body = None
            self.phase = _ANSWER
        return wire

    def _send_body(self, data: bytes) -> None:
        before = self._up
        try:
            wire = self._take_body(data)
        except RemoteProtocolError as error:
            if self._upstream is not None:
                self._upstream.abandon()
            if self._status:
                self.cut(str(error))
            else:
                self.refuse(error.status, str(error))
            return
        if wire:
            size = self._up - before
            self._up = before  # counted by _send
            self._send(wire, size)

    # --- called by the upstream

    def upstream_full(self) -> None:
        """Its buffer is over the high-water mark."""
        if self.phase is _BODY or self.phase is _RAW:
            self.pause(STREAM_FULL)

    def upstream_drained(self) -> None:
        """Undo `upstream_full`."""
        self.resume(STREAM_FULL)

    def not_opened(self, upstream: Upstream, failure: OpenFailure) -> None:
        """The stream was never opened, so nothing of the request has gone anywhere."""
        if failure is OpenFailure.GONE and self._dispatch_again(not_to=upstream.tunnel):
            return
        self.refuse(*pages.OPEN_FAILURES[failure])

    def no_answer(self, reason: str, *, retry: bool) -> None:
        """The stream ended, or made no sense, before a final head."""
        if retry and self._dispatch_again(not_to=None):
            return
        self.refuse(502, reason)

    def _dispatch_again(self, *, not_to: Tunnel | None) -> bool:
        """Once, on a fresh stream: an idle stream turned out to be dead, or another tunnel has taken over.

        RFC 9110 §9.2.2: only what is idempotent, and only what can be sent whole again.
        """
        request = self._request
        assert request is not None
        if not request.may_retry or self._retried:
            return False
        tunnel = self.edge.routes.by_host.get(request.host)
        if tunnel is None or tunnel is not_to:
            return False
        self._retried = True
        self._leave()
        self._dispatch(tunnel, request)
        return True
