"""The queue of bytes in one direction of a channel, with little memory beside the bytes.

The peer chooses the size of its packets. Each piece is an object, so two-byte packets took 20 times their size in
memory. This queue joins small pieces.
"""

from __future__ import annotations

from collections import deque

from ferry import limits


class Pieces(deque["bytes | bytearray | memoryview"]):
    """`add` puts bytes at the end, `take` gets them from the front; never `append` or `popleft`."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        """The number of bytes."""

    def add(self, data: bytes) -> None:
        """Append `data`."""
        size = len(data)
        self.size += size
        if size >= limits.SMALL_PIECE_BYTES:
            self.append(data)
            return
        last = self[-1] if self else None
        if isinstance(last, bytearray) and len(last) + size <= limits.CHANNEL_PACKET_BYTES:
            last += data
        else:
            self.append(bytearray(data))

    def take(self, most: int) -> bytes | bytearray | memoryview:
        """Remove and return the first bytes: one piece, or `most` bytes of it. IndexError if the queue is empty."""
        piece = self.popleft()
        if len(piece) > most:
            view = memoryview(piece)
            self.appendleft(view[most:])
            piece = view[:most]
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drop all bytes."""
        super().clear()
        self.size = 0
