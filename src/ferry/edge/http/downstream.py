"""The visitor's side of an exchange: it reads the request from a connection and writes the answer there."""

from __future__ import annotations

from typing import Protocol

from ferry.names import Endpoint
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead


class Downstream(Protocol):
    """One exchange calls it. An HTTP/1.1 connection implements it; a multiplexing connection has one per exchange."""

    @property
    def peer(self) -> Endpoint:
        """The visitor's address for the forwarding fields (RFC 7239 §6.2)."""
        ...

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        ...

    @property
    def ended(self) -> bool:
        """The visitor has sent end-of-file."""
        ...

    @property
    def read_paused(self) -> int:
        """Not 0 while reading from the visitor is paused."""
        ...

    def takes_chunks(self, request: RequestHead) -> bool:
        """Whether an answer without a length may be written in chunked framing, as the upstream does."""
        ...

    def first_body(self, request: RequestHead) -> tuple[bytes, int, bool]:
        """The bytes of the request's body that are here already, framed for the service; how many of them are payload;
        and whether they are the whole body. If not, `Exchange.send` and `sent` follow. Raises RemoteProtocolError."""
        ...

    def head(self, response: ResponseHead, framing: Framing) -> bytes:
        """The final head, to be written before the body; empty if the connection has written it itself."""
        ...

    def interim(self, response: ResponseHead) -> bytes:
        """A 1xx head, as the visitor gets it; empty if it gets none."""
        ...

    def write(self, data: bytes) -> None:
        """Write more of the answer."""
        ...

    def switched(self, response: ResponseHead, following: bytes) -> None:
        """101 has come. `following` holds the first bytes of the new protocol. Give both to `Exchange.relay`."""
        ...

    def answered(self, now: float, *, whole: bool) -> None:
        """The whole answer has been written; `whole`: the whole request has been read too."""
        ...

    def refused(self, status: int, reason: str, *, last: bool) -> None:
        """Write an answer of our own. With `last` the connection ends in any case."""
        ...

    def broken(self) -> None:
        """The answer ended early: cut, so that the visitor cannot take it for a whole one."""
        ...

    def write_eof(self) -> bool:
        """The service has sent end-of-file after 101. False if the connection cannot pass it on."""
        ...

    def closed(self) -> None:
        """Both directions have ended after 101."""
        ...

    def pause_reading(self) -> None:
        """The stream to the service is full: stop reading from the visitor."""
        ...

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        ...

    def unacknowledged(self) -> int:
        """The number of written bytes that the visitor's system has not acknowledged."""
        ...
