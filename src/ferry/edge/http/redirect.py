"""Plain HTTP on the HTTPS port: one answer, which sends the visitor to the https URL."""

from __future__ import annotations

import asyncio
from typing import cast

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import check_request_line, parse_request

from . import pages
from .dates import Dates


class RedirectProtocol(asyncio.Protocol):
    """Reads one head, answers 308 (RFC 9110 §15.4.9: it keeps the method), and closes.

    `port` is the port in visitors' https URLs.
    """

    __slots__ = ("_answered", "_buffer", "_dates", "_port", "_timer", "_transport")

    def __init__(self, port: int, dates: Dates) -> None:
        self._port = port
        self._dates = dates
        self._buffer = b""
        self._answered = False
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)  # set before any other call
        self._timer: asyncio.TimerHandle = cast("asyncio.TimerHandle", None)  # the same

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(limits.HEAD_SECONDS, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        seen = len(self._buffer)
        self._buffer += data
        most_line, most_head = limits.REQUEST_LINE_BYTES, limits.HEAD_BYTES
        try:
            end = head_length(self._buffer, line_limit=most_line, head_limit=most_head, seen=seen)
            if not end:
                check_request_line(self._buffer, seen=seen)
                return
            request = parse_request(self._buffer[:end], most_fields=limits.HEAD_FIELDS)
        except RemoteProtocolError as error:
            self._answer(pages.answer(error.status, str(error), None, close=True, date=self._dates.field()))
            return
        host = request.host if self._port == 443 else f"{request.host}:{self._port}"
        target = "/" if request.target == b"*" else request.target.decode("ascii")
        self._answer(
            (
                f"HTTP/1.1 308 Permanent Redirect\r\n{self._dates.field()}\r\nLocation: https://{host}{target}\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n"
            ).encode("ascii")
        )

    def _answer(self, data: bytes) -> None:
        self._answered = True
        self._transport.write(data)
        self._transport.write_eof()
        self._timer.cancel()
        # Read and drop further bytes, so that no reset destroys the answer (RFC 9112 §9.6).
        self._timer = asyncio.get_running_loop().call_later(limits.LINGER_SECONDS, self._transport.abort)
