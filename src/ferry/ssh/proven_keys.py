"""The keys that have signed in one log-in, until there are as many as it needs."""

from __future__ import annotations

from ferry.errors import Refusal
from ferry.names import Identity
from ferry.policy.keys import KeyLine
from ferry.policy.several_keys import Proven, missing, refusal_beside, together


class ProvenKeys:
    """Those of one login name: with another one a client begins anew (RFC 4252 §5)."""

    __slots__ = ("_needed", "owner", "signed")

    def __init__(self) -> None:
        self.signed: tuple[Proven, ...] = ()
        """In their order."""
        self._needed = 1
        self.owner: Identity | None = None
        """The identity of the first key, which the log-in gets; None before one has signed."""

    @property
    def complete(self) -> bool:
        """Whether these keys are enough."""
        return len(self.signed) >= max(1, self._needed)

    @property
    def line(self) -> KeyLine:
        """What all of them allow."""
        return together(self.signed)

    @property
    def missing(self) -> str:
        """What a client reads that has no further key; empty if no key has signed, or enough have."""
        return missing(len(self.signed), self._needed) if self.signed and not self.complete else ""

    def refusal_of(self, key: Proven, needed: int) -> Refusal | None:
        """The refusal of one more key, by those that have signed."""
        return refusal_beside(self.signed, key, needed)

    def add(self, key: Proven, owner: Identity, needed: int) -> None:
        """One more has signed, in a log-in that needs so many."""
        self.signed += (key,)
        self.owner = self.owner or owner
        self._needed = needed
