"""Remembers each identity's recently refused forwards, which `ssh gw` shows, and the refused opens that were told."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple, Protocol

from ferry import limits
from ferry.names import IdentityId
from ferry.protocol.typed_forward import shown_target


class RefusalReader(Protocol):
    """A session, for refusals."""

    def forward_refused(self, refused: RefusedForward, /) -> None:
        """Show a refused forward."""
        ...


class RefusedForward(NamedTuple):
    """A refused forward, with the texts for its owner."""

    asked: str
    why: str
    code: str
    at: float
    """Seconds since the epoch."""
    retry_after: int = 0
    """As in `errors.Refusal`."""

    def show_in(self, session: RefusalReader) -> None:
        """Show it in a session that begins later."""
        session.forward_refused(self)


class RefusedForwards:
    """The last `limits.REFUSALS_REMEMBERED` of each of the `limits.REFUSAL_IDENTITIES` identities that were refused
    last."""

    def __init__(self) -> None:
        self._of: OrderedDict[IdentityId, deque[RefusedForward]] = OrderedDict()
        self._unseen: set[IdentityId] = set()
        """Identities whose last refusal no person has been shown."""

    def remember(self, identity: IdentityId, refused: RefusedForward) -> None:
        """Add a refused forward. If there are too many identities, forget the one whose last refusal is the oldest."""
        kept = self._of.pop(identity, None) or deque(maxlen=limits.REFUSALS_REMEMBERED)
        kept.append(refused)
        self._of[identity] = kept
        self._unseen.add(identity)
        if len(self._of) > limits.REFUSAL_IDENTITIES:
            forgotten, _ = self._of.popitem(last=False)
            self._unseen.discard(forgotten)

    def seen(self, identity: IdentityId) -> None:
        """A person has been shown the last refusal."""
        self._unseen.discard(identity)

    def take_unseen(self, identity: IdentityId) -> RefusedForward | None:
        """The last refusal, if nobody has been shown it: the caller shows it."""
        if identity not in self._unseen:
            return None
        self._unseen.discard(identity)
        return self._of[identity][-1]

    def of(self, identity: IdentityId) -> list[RefusedForward]:
        """The refused forwards of `identity`, the oldest first."""
        return list(self._of.get(identity, ()))


class RefusedOpens:
    """The targets of a connection's refused opens (`-L`, `-D`, `-J`, `-W`) that its sessions have shown: OPENS_TOLD."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: set[str] = set()

    def notice(self, host: bytes, port: int, why: str) -> str | None:
        """The line for sessions; None if this target was told before, or if too many were."""
        target = shown_target(host[: limits.HOST_BYTES], port)
        if target in self._told or len(self._told) == limits.OPENS_TOLD:
            return None
        self._told.add(target)
        last = " (later ones are not shown)" if len(self._told) == limits.OPENS_TOLD else ""
        return f"Refused a connection to {target}: {why}{last}"
