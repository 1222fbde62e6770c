"""The visitor's side of an exchange: what reads its request from a connection, and writes its answer there."""

from __future__ import annotations

from typing import Protocol

from ferry.names import Endpoint
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead


class Downstream(Protocol):
    """Calls come from one exchange. HTTP/1.1 is one of these itself; a connection that multiplexes has one for each."""

    @property
    def peer(self) -> Endpoint:
        """The visitor's address, as forwarding fields show it (RFC 7239 §6.2)."""
        ...

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        ...

    @property
    def ended(self) -> bool:
        """The visitor has sent all that it will send."""
        ...

    @property
    def reading_paused(self) -> bool:
        """Nothing is read from the visitor now."""
        ...

    def takes_chunks(self, request: RequestHead) -> bool:
        """An answer without a length may leave in chunked framing, as the upstream writes it."""
        ...

    def first_body(self, request: RequestHead) -> bytes:
        """What is there of the request's body, framed for the service. Raises RemoteProtocolError."""
        ...

    def head(self, response: ResponseHead, framing: Framing) -> bytes:
        """The final head as it is written before the body; empty if the connection has written it itself."""
        ...

    def interim(self, response: ResponseHead) -> None:
        """A 1xx head has come for the visitor."""
        ...

    def write(self, data: bytes) -> None:
        """More of the answer."""
        ...

    def switched(self, response: ResponseHead, rest: bytes) -> None:
        """101: `rest` is the first that the new protocol says."""
        ...

    def answered(self, now: float, *, whole: bool) -> None:
        """The answer has been written; `whole`: the request was read whole too."""
        ...

    def refused(self, status: int, reason: str, *, last: bool) -> None:
        """Write an answer of our own. With `last` the connection ends in any case."""
        ...

    def broken(self) -> None:
        """The visitor must not take what it has for the whole."""
        ...

    def write_eof(self) -> bool:
        """The service has said all it will say after 101. False if the connection cannot pass that on."""
        ...

    def closed(self) -> None:
        """Both directions have ended after 101."""
        ...

    def pause_reading(self) -> None:
        """The stream to the service is full."""
        ...

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        ...

    def untaken(self) -> int:
        """Bytes that were written for the visitor and that its own system has not acknowledged."""
        ...
