"""What waits in one direction of a channel: bytes, first in, first out, and little memory beside them.

A peer chooses how its data is cut. Each piece is an object, so that two-byte packets took 20 times their size in memory;
small pieces are joined here.
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
        """Bytes in all."""

    def add(self, data: bytes) -> None:
        """Put `data` behind what is there."""
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
        """The first bytes: one piece, or `most` bytes of it. IndexError when nothing is there."""
        piece = self.popleft()
        if len(piece) > most:
            view = memoryview(piece)
            self.appendleft(view[most:])
            piece = view[:most]
        self.size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drop everything."""
        super().clear()
        self.size = 0
