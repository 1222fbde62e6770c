"""Finds connections whose key may not log in any more, or only as another identity: its line has left the key files or
has another `name=`, or the configuration has changed.

An operator who removes a key, or gives it to another person, wants that now, not at the next log-in. But while an
editor writes a file in place, the file is incomplete for a moment, and that must not disconnect a whole fleet. So the
key has to be invalid for REVOKED_SECONDS.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from ferry import limits
from ferry.names import Identity

from .access import KeyAccess


class Revocable(Hashable, Protocol):
    """A connection, compared by identity."""

    @property
    def identity(self) -> Identity:
        """Its identity, with the key that has signed unless it is anonymous."""
        ...


C = TypeVar("C", bound=Revocable)

GONE: Final = "your key may not log in here any more"
RENAMED: Final = "your key has another name= here now: connect again"


class Revoked(Generic[C]):
    """Remembers since when each connection's key is invalid. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[C, float] = {}
        """Connections that could not log in with their identity now, and since when."""

    def look(self, connections: Iterable[C], access: KeyAccess, now: float) -> list[tuple[C, str]]:
        """The connections to end, each with the reason: for REVOKED_SECONDS they could not have logged in as they
        are."""
        wrong = [(one, why) for one in connections if (why := _why_revoked(one.identity, access)) is not None]
        self._since = {one: self._since.get(one, now) for one, _ in wrong}
        return [(one, why) for one, why in wrong if now - self._since[one] >= limits.REVOKED_SECONDS]


def _why_revoked(identity: Identity, access: KeyAccess) -> str | None:
    """The reason why a log-in would not give this identity now; None if it would."""
    if identity.fingerprint is None:
        return None if access.allows_keyless else GONE
    known, name = access.key_name(identity.fingerprint)
    if not known:
        return GONE
    # a key without a name keeps its identity (`Identities.identity_for_key`)
    return None if name in (None, identity.name) else RENAMED
