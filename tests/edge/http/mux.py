"""A minimal connection that multiplexes, as HTTP/2 will beside HTTP/1.1.

A frame is a stream's number and a length, then that many bytes: of a request, HTTP/1.1's own. An empty one breaks the
stream off. Each stream has an exchange of its own, and is paused, cut and tapped by itself.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from ferry.edge.http.edge import HttpEdge
from ferry.edge.http.exchange import Exchange
from ferry.edge.http.forwarding import Forwarding
from ferry.edge.http.heads import HeadReader
from ferry.names import Endpoint
from ferry.protocol.http1.body import Body
from ferry.protocol.http1.framing import Framing
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.protocol.http1.serialize import interim_head, response_head

_FRAME = Struct(">BI")
PEER = Endpoint("192.0.2.1", 4711)


class MuxStream:
    """The `Downstream` of one exchange."""

    peer = PEER
    scheme = "http"
    ended = False
    read_paused = False

    def __init__(self, connection: MuxConnection, number: int, body: bytes) -> None:
        self._connection = connection
        self._number = number
        self._body = body
        self.over = False

    def takes_chunks(self, request: RequestHead) -> bool:
        return True

    def first_body(self, request: RequestHead) -> tuple[bytes, int, bool]:
        body = Body(request.length)
        wire, left = body.feed(self._body)
        assert not left
        return wire, body.payload, body.done

    def head(self, response: ResponseHead, framing: Framing) -> bytes:
        return response_head(response, framing, b"")

    def interim(self, response: ResponseHead) -> bytes:
        """There is no frame for it."""
        return b""

    def write(self, data: bytes) -> None:
        self._connection.send(self._number, data)

    def answered(self, now: float, *, whole: bool) -> None:
        self.over = True

    def refused(self, status: int, reason: str, *, last: bool) -> None:
        self.over = True
        self._connection.send(self._number, b"%d %b" % (status, reason.encode()))

    def broken(self) -> None:
        self.over = True
        self._connection.send(self._number, b"")

    def switched(self, response: ResponseHead, following: bytes) -> None:
        self._connection.exchanges[self._number].relay(interim_head(response) + following, len(following))

    def write_eof(self) -> bool:
        return False

    def closed(self) -> None:
        self.over = True

    def pause_reading(self) -> None:
        self.read_paused = True

    def resume_reading(self) -> None:
        self.read_paused = False

    def unacknowledged(self) -> int:
        return 0


class MuxConnection:
    """Over one transport. `frames` is what was written to it, by stream."""

    def __init__(self, edge: HttpEdge, transport: Any) -> None:
        self._edge = edge
        self._transport = transport
        self.exchanges: dict[int, Exchange] = {}
        self.streams: dict[int, MuxStream] = {}

    def ask(self, number: int, head: bytes, body: bytes = b"") -> Exchange:
        """Send a request on stream `number`, with its whole body."""
        shared = self._edge.shared
        request, left = HeadReader(shared.bounds, {}).take(head)
        assert request is not None
        assert not left
        stream = self.streams[number] = MuxStream(self, number, body)
        forwarding = Forwarding(PEER.host, secure=False, port=80)
        exchange = self.exchanges[number] = Exchange(shared, stream, self._edge.backends, forwarding)
        exchange.begin(request)
        return exchange

    def send(self, number: int, data: bytes) -> None:
        self._transport.write(_FRAME.pack(number, len(data)) + data)

    @property
    def frames(self) -> dict[int, list[bytes]]:
        """The bytes that the visitor has got, by stream."""
        got: dict[int, list[bytes]] = {number: [] for number in self.exchanges}
        data = bytes(self._transport.written)
        while data:
            number, size = _FRAME.unpack_from(data)
            got[number].append(data[_FRAME.size : _FRAME.size + size])
            data = data[_FRAME.size + size :]
        return got
