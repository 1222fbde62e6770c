"""The visitor's side of an upstream: it receives the answer, piece by piece, and pauses the request."""

from __future__ import annotations

from typing import Protocol

from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.response import ResponseHead
from ferry.streams import ExchangeTap, OpenFailure


class ResponseSink(Protocol):
    """The receiver of an upstream's answer."""

    tap: ExchangeTap | None
    """Watches the exchange."""

    @property
    def sending(self) -> bool:
        """Some of the request's body is still to come."""
        ...

    @property
    def takes_chunks(self) -> bool:
        """The visitor may get the answer in chunked framing."""
        ...

    def interim(self, response: ResponseHead) -> None:
        """A 1xx head has come (RFC 9110 §15.2)."""
        ...

    def responding(self, response: ResponseHead, framing: Framing) -> bytes:
        """The final head has come; its body follows in `framing`. Returns the bytes to write before the body."""
        ...

    def relay(self, data: bytes, size: int) -> None:
        """Bytes for the visitor, `size` of which are payload."""
        ...

    def unfinished(self) -> None:
        """More of the answer's body is still to come. Called once, after the first bytes were relayed."""
        ...

    def answered(self, *, reusable: bool) -> None:
        """The whole answer has been relayed; `reusable`: the stream may carry another request."""
        ...

    def cut(self, reason: str) -> None:
        """The answer broke off in the middle. The stream is gone."""
        ...

    def no_answer(self, reason: str, *, retry: bool) -> None:
        """The stream ended before a final head; `retry`: it may have been dead before the request."""
        ...

    def not_opened(self, failure: OpenFailure) -> None:
        """The stream never opened, so the service has got nothing of the request."""
        ...

    def switched(self, response: ResponseHead, following: bytes) -> None:
        """101 has come, with `following` behind it. From here on the bytes are relayed unchanged."""
        ...

    def upstream_ended(self) -> None:
        """The service has sent end-of-file after an upgrade. The visitor may still send."""
        ...

    def upstream_lost(self, error: Exception | None) -> None:
        """The stream has ended after an upgrade."""
        ...

    def pause_sending(self) -> None:
        """The stream's buffer is over its high-water mark: send no more of the request."""
        ...

    def resume_sending(self) -> None:
        """Undo `pause_sending`."""
        ...
