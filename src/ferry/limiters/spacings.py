"""One spacing for all who belong together, kept while one of them is there."""

from __future__ import annotations

from .rate import Spacing


class Spacings:
    """By key. Each `enter` ends with `leave`; with the last of a key its spacing is forgotten."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, tuple[Spacing, int]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def enter(self, key: str, together: int, per_second: float) -> Spacing:
        """The spacing of `key`. The first to enter says how many may follow each other at once, and how many a second."""
        spacing, users = self._of.get(key) or (Spacing(together, per_second), 0)
        self._of[key] = (spacing, users + 1)
        return spacing

    def leave(self, key: str) -> None:
        """One of those who have entered has left."""
        spacing, users = self._of.pop(key)
        if users > 1:
            self._of[key] = (spacing, users - 1)
