"""Decides when freed memory goes back to the system (malloc_trim(3)): after a rush, once the gateway is quiet. Pure."""

from __future__ import annotations

from ferry import limits


class Trimming:
    """Decides from regular measurements of the process's free bytes."""

    def __init__(
        self,
        *,
        least: int = limits.TRIM_BYTES,
        quiet: float = limits.TRIM_QUIET,
        patience: float = limits.TRIM_PATIENCE_SECONDS,
    ) -> None:
        """At least `least` freed bytes are worth it. Below `quiet`, a share of one core, it delays no visitor. On a busier
        process it is done after `patience` seconds all the same."""
        self._least = least
        self._quiet = quiet
        self._patience = patience
        self._resident = 0
        self._free = 0  # bytes that were free when memory was trimmed last, or fewer since
        self._since: float | None = None

    def look(self, free: int, resident: int, busy: float, now: float) -> bool:
        """Whether to trim memory now. Of `resident` bytes `free` are unused; the process lately used `busy` of a core.

        The system may have some of the free bytes already. So memory can be trimmed when more bytes are free than
        after the last time, or when the process has grown since: memory used and freed between two measurements shows
        only in its size.
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

    def trimmed(self, free: int, resident: int) -> None:
        """Record that memory was trimmed; `free` and `resident` are measured after that."""
        self._free, self._resident = free, resident
        self._since = None
