"""From a visitor's bytes to one request head after another. No I/O."""

from __future__ import annotations

from ferry import limits
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import RequestHead, check_request_line, parse_request

from .shared import Bounds


class HeadReader:
    """Of one connection. `known` holds what heads of the last second meant, of all connections: programs send the same
    one again and again, and the same bytes have the same meaning. At most HEADS_REMEMBERED, of HEAD_REMEMBERED_BYTES."""

    __slots__ = ("_bounds", "_known", "_seen", "_skipped", "begun")

    def __init__(self, bounds: Bounds, known: dict[bytes, RequestHead]) -> None:
        self._bounds = bounds
        self._known = known
        self._seen = 0  # bytes of the buffer in which a head's end was looked for
        self._skipped = False  # an empty line before the request line
        self.begun = False
        """A head has begun and not come whole."""

    def restart(self) -> None:
        """What had begun was taken otherwise."""
        self._seen = 0
        self._skipped = self.begun = False

    def take(self, buffer: bytes) -> tuple[RequestHead | None, bytes]:
        """The first head of `buffer`, None while it has not come whole; and what is left. Raises RemoteProtocolError."""
        # RFC 9112 §2.2: ignore an empty line before the request line. Stricter: one, and no more.
        if buffer[:2] == b"\r\n" and not self._skipped:
            self._skipped = True
            self._seen = 0
            buffer = buffer[2:]
        seen = self._seen
        end = head_length(buffer, line_limit=limits.REQUEST_LINE_BYTES, head_limit=self._bounds.head_bytes, seen=seen)
        if not end:
            check_request_line(buffer, seen=seen)
            self._seen = len(buffer)
            self.begun = True
            return None, buffer
        self.restart()
        head, rest = (buffer, b"") if end == len(buffer) else (buffer[:end], buffer[end:])
        request = self._known.get(head)
        if request is None:
            request = parse_request(head, most_fields=self._bounds.head_fields)
            if end <= limits.HEAD_REMEMBERED_BYTES:
                if len(self._known) >= limits.HEADS_REMEMBERED:
                    self._known.clear()
                self._known[head] = request
        return request, rest
