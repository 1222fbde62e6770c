"""Connections whose key may not log in any more, or only as somebody else: its line left the key files or has another
`name=`, or the configuration lets others in now.

Whoever takes a key away, or gives it to somebody else, means it now, not at its next log-in. But a file that an editor
writes in place is half a file for a moment, and that must not send a whole fleet away: it has to be so for a while.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, Protocol, TypeVar

from ferry import limits
from ferry.names import Identity

from .access import KeyAccess


class Revocable(Hashable, Protocol):
    """A connection; told from others by identity."""

    @property
    def identity(self) -> Identity:
        """With the key that has signed, unless it is anonymous."""
        ...


C = TypeVar("C", bound=Revocable)

GONE: Final = "your key may not log in here any more"
RENAMED: Final = "your key belongs to another name= here by now: connect again"


class Revoked(Generic[C]):
    """Asked every now and then, with monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[C, float] = {}
        """Those who could not log in now as who they are, and since when."""

    def look(self, connections: Iterable[C], access: KeyAccess, now: float) -> list[tuple[C, str]]:
        """Those whose time is over, and why: for REVOKED_SECONDS they could not have logged in as who they are."""
        wrong = [(one, why) for one in connections if (why := _why_not(one.identity, access)) is not None]
        self._since = {one: self._since.get(one, now) for one, _ in wrong}
        return [(one, why) for one, why in wrong if now - self._since[one] >= limits.REVOKED_SECONDS]


def _why_not(identity: Identity, access: KeyAccess) -> str | None:
    """Why it would not be this identity that logs in now; None if it would."""
    if identity.fingerprint is None:
        return None if access.keyless else GONE
    known, name = access.key_name(identity.fingerprint)
    if not known:
        return GONE
    # a key beside which there is no name keeps the identity that it has (`People.identity_for_key`)
    return None if name in (None, identity.name) else RENAMED
