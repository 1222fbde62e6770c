"""When memory that was freed is given back to the system: after a rush, once it is quiet. Pure."""

from __future__ import annotations

from ferry import limits


class GiveBack:
    """Looks at how many bytes lie free in the process, at regular times."""

    def __init__(
        self,
        *,
        least: int = limits.GIVE_BACK_BYTES,
        quiet: float = limits.GIVE_BACK_QUIET,
        patience: float = limits.GIVE_BACK_PATIENCE_SECONDS,
    ) -> None:
        """`least` bytes are worth it. `quiet` is the share of one core below which nobody is held up by it; after
        `patience` seconds of more it is done all the same."""
        self._least = least
        self._quiet = quiet
        self._patience = patience
        self._resident = 0
        self._free = 0  # bytes that were free when memory was given back last, or fewer since
        self._since: float | None = None

    def look(self, free: int, resident: int, busy: float, now: float) -> bool:
        """Whether to give back now: of `resident` bytes `free` are unused, and the process used `busy` of a core of late.

        Free bytes may be with the system already. So there is something to give back when more are free than after the
        last time, or when the process has grown since: what was used and freed between two looks shows there alone.
        """
        self._free = min(self._free, free)
        self._resident = min(self._resident, resident)
        grown = resident - self._resident >= self._least and free >= self._least
        if not grown and free - self._free < self._least:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return busy < self._quiet or now - self._since >= self._patience

    def gave(self, free: int, resident: int) -> None:
        """It was done, and this is how it is now."""
        self._free, self._resident = free, resident
        self._since = None
