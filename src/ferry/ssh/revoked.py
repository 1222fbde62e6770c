"""Connections whose key may not log in any more: its line left the key files, or the configuration lets others in now.

Whoever takes a key away means it now, not at its next log-in. But a file that an editor writes in place is half a file
for a moment, and that must not send a whole fleet away: a key has to be missing for a while.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from ferry import limits
from ferry.names import Identity

from .services import Access


class LoggedIn(Hashable, Protocol):
    """A connection; told from others by identity."""

    @property
    def identity(self) -> Identity:
        """With the key that has signed, unless it is anonymous."""
        ...


C = TypeVar("C", bound=LoggedIn)


class Revoked(Generic[C]):
    """Asked every now and then, with monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[C, float] = {}
        """Those whose key is missing, and since when."""

    def look(self, connections: Iterable[C], access: Access, now: float) -> list[C]:
        """Those whose time is over: their keys have been missing for REVOKED_SECONDS."""
        missing = (one for one in connections if not _may_log_in(one.identity, access))
        self._since = {one: self._since.get(one, now) for one in missing}
        return [one for one, since in self._since.items() if now - since >= limits.REVOKED_SECONDS]


def _may_log_in(identity: Identity, access: Access) -> bool:
    if identity.fingerprint is None:
        return access.keyless
    known, _ = access.key_name(identity.fingerprint)
    return known
