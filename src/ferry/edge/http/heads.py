"""From a visitor's bytes to one request after another."""

from __future__ import annotations

from abc import abstractmethod

from ferry import limits
from ferry.errors import RemoteProtocolError
from ferry.protocol.http1.octets import head_length
from ferry.protocol.http1.request import RequestHead, check_request_line, parse_request

from .connection import READ_AHEAD, Connection, Phase
from .state import EdgeState

_HEAD = Phase.HEAD


class HeadReader(Connection):
    """Finds the heads in `buffer` and hands them on, one at a time, while the phase is HEAD."""

    __slots__ = ("_reading", "_seen", "_skipped", "begun")

    def __init__(self, edge: EdgeState, *, secure: bool) -> None:
        super().__init__(edge, secure=secure)
        self.begun = True  # a head's deadline runs: from the accept, later from a head's first byte
        self._reading = False
        self._seen = 0  # bytes of the buffer in which a head's end was looked for
        self._skipped = False  # an empty line before the request line

    @abstractmethod
    def begin(self, request: RequestHead) -> None:
        """Take the next request. The phase is no longer HEAD, or it has been answered on the spot."""

    @abstractmethod
    def refuse(self, status: int, reason: str, *, doubt: bool = False) -> None:
        """Answer with an error page. The connection goes on only if where the next request begins is certain;
        with `doubt` there is no request to speak of."""

    def read_heads(self) -> None:
        """Begin the next request, and as many after it as are answered on the spot."""
        if self._reading:  # an answer on the spot has come back here: the loop below goes on by itself
            return
        self._reading = True
        try:
            while self.phase is _HEAD and not self.choked and self._read_head():
                pass
        except RemoteProtocolError as error:
            self.refuse(error.status, str(error), doubt=True)
        finally:
            self._reading = False

    def _read_head(self) -> bool:
        """False if more bytes are needed."""
        buffer = self.buffer
        heads = self.edge.heads
        # One head that is known, and nothing else: neither its end nor its bounds need be looked for again.
        if len(buffer) <= limits.HEAD_REMEMBERED_BYTES and (known := heads.get(buffer)) is not None:
            self.buffer = b""
            self._seen = 0
            self._skipped = False
            self.begin(known)
            return True
        # RFC 9112 §2.2: ignore an empty line before the request line. Stricter: one, and no more.
        if buffer[:2] == b"\r\n" and not self._skipped:
            self._skipped = True
            self._seen = 0
            self.buffer = buffer = buffer[2:]
        bounds, seen = self.edge.bounds, self._seen
        end = head_length(buffer, line_limit=limits.REQUEST_LINE_BYTES, head_limit=bounds.head_bytes, seen=seen)
        if not end:
            check_request_line(buffer, seen=seen)
            self._seen = len(buffer)
            self._await_head()
            return False
        self._seen = 0
        if end == len(buffer):
            head, self.buffer = buffer, b""
        else:
            head, self.buffer = buffer[:end], buffer[end:]
        self._skipped = False
        request = heads.get(head)
        if request is None:
            request = parse_request(head, most_fields=bounds.head_fields)
            if end <= limits.HEAD_REMEMBERED_BYTES:
                if len(heads) >= limits.HEADS_REMEMBERED:
                    heads.clear()
                heads[head] = request
        self.begin(request)
        return True

    def _await_head(self) -> None:
        if self.ended:
            self.shut()
        elif self.buffer and not self.begun:
            self.begun = True
            self.expire_in(self.edge.bounds.head_seconds)
        self.resume(READ_AHEAD)
