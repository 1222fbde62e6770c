"""Fields of SSH (RFC 4251 §5), one after the other: numbers and strings."""

from __future__ import annotations

from collections.abc import Iterator

from ferry.errors import InvalidInput


class Fields:
    """Reads them. Raises InvalidInput with the text `cut` where they end too early."""

    def __init__(self, data: bytes, cut: str) -> None:
        self._data = data
        self._cut = cut
        self.at = 0

    @property
    def more(self) -> bool:
        """Whether there is more to read."""
        return self.at < len(self._data)

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        taken = self._data[self.at : self.at + size]
        if len(taken) != size:
            raise InvalidInput(self._cut)
        self.at += size
        return taken

    def number(self, size: int) -> int:
        """A number of `size` bytes, without a sign."""
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        """A string, with its length before it."""
        return self.take(self.number(4))

    def strings(self) -> Iterator[bytes]:
        """All strings up to the end."""
        while self.more:
            yield self.string()
