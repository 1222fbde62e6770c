"""One spacing for each key, shared by all its users and kept while it has any."""

from __future__ import annotations

from .rate import Spacing


class Spacings:
    """Spacings by key. Each `enter` must be followed by `leave`; the last `leave` of a key forgets its spacing."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, tuple[Spacing, int]] = {}

    def enter(self, key: str, together: int, per_second: float) -> Spacing:
        """The spacing of `key`. The first `enter` of a key sets its `together` and `per_second`."""
        spacing, users = self._of.get(key) or (Spacing(together, per_second), 0)
        self._of[key] = (spacing, users + 1)
        return spacing

    def leave(self, key: str) -> None:
        """Undo one `enter` of `key`."""
        spacing, users = self._of.pop(key)
        if users > 1:
            self._of[key] = (spacing, users - 1)
