"""A body on its way through: read as it was framed, written as it will be framed, never held."""

from __future__ import annotations

from .chunked import LAST_CHUNK, ChunkedDecoder, encode_chunk
from .framing import CHUNKED


class Body:
    """One body of `length` bytes, or CHUNKED. `chunked_out` says how a chunked one leaves; one with a length leaves
    as it is, by slices that copy nothing where a packet ends with the body."""

    __slots__ = ("_chunked_out", "_decoder", "_left", "done", "payload")

    def __init__(self, length: int, *, chunked_out: bool = True) -> None:
        self._left = length
        self._decoder = ChunkedDecoder() if length == CHUNKED else None
        self._chunked_out = chunked_out
        self.done = length == 0
        self.payload = 0
        """Bytes of payload in what was fed last."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What to write on for `data`, and what of `data` was not taken: it lies behind the body's end, or, while the
        body is not done, it is to be fed in another turn (`ChunkedDecoder.feed`).

        Raises RemoteProtocolError (400, 431) where the chunked coding is broken.
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
