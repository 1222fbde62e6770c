"""The TLS client inside a stream, for local services that speak TLS themselves (`-R 443:...`).

It is a `Stream` over a `Stream`: OpenSSL works on two memory buffers, and this class moves bytes between them and the
inner stream. If a service accepts the connection and never answers the handshake, the visitor waits
`LOCAL_TLS_SECONDS`; the bytes that it sends meanwhile are bounded as on any stream.

The gateway does not verify the certificate: the service runs on its owner's machine, at the far end of an authenticated
SSH connection, and usually has a certificate for another name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.streams import OpenFailure, Sink, Stream

from . import pages
from .hints import NotTls

_READ_BYTES = 65536
_RECORDS = range(20, 25)  # the first byte of a TLS record (RFC 8446 §5.1, RFC 6520)


def client_context() -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1, without verification (see above)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Answer a service's request for a new handshake (TLS 1.2) with an alert that refuses it. During a handshake nothing
    # can be written, and each costs us as much as a connection. Services use it to ask for client certificates; we have
    # none.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial_tls(
    context: ssl.SSLContext, dial: Callable[[Sink], Stream], sink: Sink, name: str, *, seconds: float
) -> Stream:
    """Dial and speak TLS. `name` is the SNI name (RFC 6066 §3), from the visitor's Host. If the handshake takes longer
    than `seconds` from the open of the stream, the sink's `stream_lost` gets the error."""
    stream = TlsStream(context, sink, name, seconds=seconds)
    stream.attach(dial(stream))
    return stream


class TlsStream:
    """A Stream for its owner, and the Sink of the stream that it wraps."""

    __slots__ = (
        "_closed",
        "_eof_told",
        "_eof_wanted",
        "_first",
        "_held",
        "_incoming",
        "_inner",
        "_inner_full",
        "_outgoing",
        "_pending",
        "_ready",
        "_seconds",
        "_sink",
        "_timer",
        "_tls",
    )

    def __init__(self, context: ssl.SSLContext, sink: Sink, name: str, *, seconds: float) -> None:
        self._sink = sink
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None  # until the handshake is over
        self._inner: Stream = cast(Stream, None)  # `attach` sets it before any other call but stream_refused
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._pending = bytearray()  # bytes to write after the handshake
        self._held = self._inner_full = False  # the writer is paused: by us because of `_pending`, by the inner stream
        self._ready = False
        self._eof_wanted = False
        self._eof_told = False
        self._closed = False
        self._first = -1  # the first byte from the service

    def attach(self, inner: Stream) -> None:
        """Set the stream to speak TLS over, and send the ClientHello at once."""
        self._inner = inner
        if not self._closed:
            self._handshake()

    # --- Stream

    def write(self, data: bytes) -> None:
        if not self._ready:
            self._pending += data
            if len(self._pending) > limits.HIGH_WATER_BYTES and not self._held:
                self._held = True
                self._tell_full(self._inner_full)
            return
        if not self._eof_wanted:
            self._write(data)

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            asyncio.get_running_loop().call_soon(self._broken, error)  # later: a writer must not learn of the end here
        else:
            self._flush()

    def write_eof(self) -> None:
        self._eof_wanted = True
        if self._ready:
            self._say_goodbye()

    def close(self) -> None:
        if self._closed:
            return
        if self._ready:
            self._say_goodbye()
        self._inner.close()

    def abort(self) -> None:
        self._closed = True
        self._stop_timer()
        self._inner.abort()

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    # --- Sink

    def stream_opened(self) -> None:
        """Our sink's `stream_opened` comes after the handshake."""
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._too_late)

    def stream_refused(self, failure: OpenFailure) -> None:
        self._closed = True
        self._sink.stream_refused(failure)

    def data_received(self, data: bytes) -> None:
        self._incoming.write(data)
        if not self._ready:
            if self._first < 0:
                self._first = data[0]
            self._handshake()
        if self._ready:
            self._read()

    def eof_received(self) -> None:
        self._incoming.write_eof()
        if not self._ready:
            self._fail(self._unfinished())
        else:
            self._tell_eof()

    def stream_lost(self, error: Exception | None) -> None:
        self._stop_timer()
        if not self._closed:
            self._closed = True
            self._sink.stream_lost(error if error is not None or self._ready else self._unfinished())

    def _unfinished(self) -> RemoteProtocolError:
        """The error of a service that has ended the stream before the end of the handshake."""
        if self._first in _RECORDS:
            return RemoteProtocolError("it ended the TLS handshake")
        return NotTls(pages.ENDS_TLS if self._first < 0 else pages.SPEAKS_NO_TLS)

    def pause_writing(self) -> None:
        self._inner_full = True
        self._tell_full(self._held)

    def resume_writing(self) -> None:
        self._inner_full = False
        self._tell_drained()

    # --- pausing our writer

    def _tell_full(self, told: bool) -> None:
        if not told and not self._closed:
            self._sink.pause_writing()

    def _tell_drained(self) -> None:
        if not self._closed and not self._held and not self._inner_full:
            self._sink.resume_writing()

    # --- the pump

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()
            if self._first in _RECORDS:
                self._fail(RemoteProtocolError(f"its TLS handshake ended ({error.reason})"))
            else:
                self._fail(NotTls(pages.SPEAKS_NO_TLS))
            return
        self._ready = True
        self._stop_timer()
        self._flush()
        self._sink.stream_opened()
        pending, self._pending = self._pending, bytearray()
        if pending:
            self._write(pending)
        if self._held:
            self._held = False
            self._tell_drained()
        if self._eof_wanted:
            self._say_goodbye()

    def _read(self) -> None:
        while not self._closed:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:  # ssl.SSLZeroReturnError is one: close_notify
                if isinstance(error, ssl.SSLZeroReturnError):
                    self._tell_eof()
                else:
                    self._broken(error)
                return
            if not data:
                self._tell_eof()
                return
            self._sink.data_received(data)
        self._flush()  # answers to key updates

    def _tell_eof(self) -> None:
        if not self._closed and not self._eof_told:
            self._eof_told = True
            self._sink.eof_received()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # "want read": our close_notify is written, theirs has not come
            self._tls.unwrap()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and not self._closed:
            self._inner.write(self._outgoing.read())

    def _too_late(self) -> None:
        self._fail(RemoteProtocolError(f"no TLS handshake within {self._seconds:g} s"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _broken(self, error: ssl.SSLError) -> None:
        self._flush()  # the alert tells the service why
        self._fail(RemoteProtocolError(f"TLS with the local service broke ({error.reason})"))

    def _fail(self, error: Exception) -> None:
        if not self._closed:
            self.abort()
            self._sink.stream_lost(error)
