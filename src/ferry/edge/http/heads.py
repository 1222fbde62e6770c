"""Takes request heads from a visitor's bytes, one after another. No I/O."""

from __future__ import annotations

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.protocol.first_bytes import LOOK_BYTES, FirstBytes, classify
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import RequestHead, check_request_line, parse_request

from .shared import Bounds


class HeadReader:
    """For one connection. `known` has the parsed heads of all connections in the last second, because programs send the
    same head again and again: at most HEADS_REMEMBERED heads of up to HEAD_REMEMBERED_BYTES."""

    __slots__ = ("_bounds", "_known", "_seen", "_skipped", "begun")

    def __init__(self, bounds: Bounds, known: dict[bytes, RequestHead]) -> None:
        self._bounds = bounds
        self._known = known
        self._seen = 0  # bytes of the buffer that have been searched for the end of a head
        self._skipped = False  # an empty line before the request line
        self.begun = False
        """A part of a head has come."""

    def restart(self) -> None:
        """Other code has taken the head that had begun."""
        self._seen = 0
        self._skipped = self.begun = False

    def take(self, buffer: bytes) -> tuple[RequestHead | None, bytes]:
        """The first head of `buffer`, or None while it is not complete, and the remaining bytes. Raises
        RemoteProtocolError."""
        # RFC 9112 §2.2: ignore an empty line before the request line. Stricter: one line only.
        if buffer[:2] == b"\r\n" and not self._skipped:
            self._skipped = True
            self._seen = 0
            buffer = buffer[2:]
        seen = self._seen
        end = head_length(buffer, line_limit=limits.REQUEST_LINE_BYTES, head_limit=self._bounds.head_bytes, seen=seen)
        if not end:
            if not self.begun:
                _check_protocol(buffer)
            check_request_line(buffer, seen=seen)
            self._seen = len(buffer)
            self.begun = True
            return None, buffer
        self.restart()
        head, left = (buffer, b"") if end == len(buffer) else (buffer[:end], buffer[end:])
        request = self._known.get(head)
        if request is None:
            request = parse_request(head, most_fields=self._bounds.head_fields)
            if end <= limits.HEAD_REMEMBERED_BYTES:
                if len(self._known) >= limits.HEADS_REMEMBERED:
                    self._known.clear()
                self._known[head] = request
        return request, left


def _check_protocol(beginning: bytes) -> None:
    """Refuse SSH and TLS at once: their clients wait for an answer, and no line of theirs may end soon. Raises
    RemoteProtocolError."""
    spoken = classify(beginning[:LOOK_BYTES])
    if spoken is FirstBytes.SSH or spoken is FirstBytes.TLS:
        raise RemoteProtocolError(f"the client speaks {spoken.name} instead of HTTP")
