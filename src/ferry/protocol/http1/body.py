"""Relays a body: it decodes the incoming framing, applies the outgoing one, and buffers nothing."""

from __future__ import annotations

from .chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk
from .framing import CHUNKED


class Body:
    """One body of `length` bytes, or CHUNKED. `chunked_out`: a chunked body is sent on chunked. A body with a length is
    sent on unchanged, in slices that copy nothing if a packet ends with the body."""

    __slots__ = ("_chunked_out", "_decoder", "_left", "done", "payload")

    def __init__(self, length: int, *, chunked_out: bool = True) -> None:
        self._left = length
        self._decoder = ChunkedDecoder() if length == CHUNKED else None
        self._chunked_out = chunked_out
        self.done = length == 0
        self.payload = 0
        """Bytes of payload in the data that was fed last."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The bytes to send on for `data`, and the bytes of `data` that were not consumed. Those are after the body's end;
        while the body is not done, feed them again in another turn (`ChunkedDecoder.feed`).

        Raises RemoteProtocolError (400, 431) if the chunked coding is broken.
        """
        if self._decoder is not None:
            return self._feed_chunked(self._decoder, data)
        left = self._left - len(data)
        if left > 0:
            self._left = left
            self.payload = len(data)
            return data, b""
        self.payload = self._left
        self._left = 0
        self.done = True
        return (data, b"") if left == 0 else (data[:left], data[left:])

    def _feed_chunked(self, decoder: ChunkedDecoder, data: bytes) -> tuple[bytes, bytes]:
        pieces: list[bytes] = []
        used = decoder.feed(data, pieces)
        self.payload = sum(map(len, pieces))
        if not self._chunked_out:
            wire = b"".join(pieces)
        else:
            wire = encode_chunk(pieces) if pieces else b""
            if decoder.done:
                wire += LAST_CHUNK
        self.done = decoder.done
        return wire, data[used:]
