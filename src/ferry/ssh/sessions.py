"""The open sessions of one client, and what all of them are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ferry.names import Address
from ferry.visits import Visit

from .notices import TunnelShown
from .refusals import RefusedForward
from .session import Session


class Sessions:
    """The sessions, oldest first. An error in one of them ends that one only."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: list[Session] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, session: Session) -> None:
        """A session has opened."""
        self._open.append(session)

    def closed(self, session: Session) -> None:
        """A session has closed."""
        if session in self._open:
            self._open.remove(session)

    def besides(self, session: Session) -> bool:
        """Whether another session goes on."""
        return any(not (one is session or one.is_over) for one in self._open)

    # --- what all are told

    def say(self, line: str, **fields: object) -> None:
        """One line."""
        self._each(lambda session: session.say(line, **fields))

    def complain(self, line: str) -> None:
        """Why something cannot be done."""
        self._each(lambda session: session.complain(line))

    def forward_opened(self, tunnel: TunnelShown) -> None:
        """A forward was granted."""
        self._each(lambda session: session.forward_opened(tunnel))

    def forward_refused(self, refused: RefusedForward) -> None:
        """A forward was refused."""
        self._each(lambda session: session.forward_refused(refused))

    def visited(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A visitor was served. `shown`: the operator lets sessions show that."""
        self._each(lambda session: session.visited(address, visit, shown=shown))

    def long_visit_began(self, address: Address, visit: Visit, *, shown: bool) -> None:
        """A WebSocket or an event stream has opened. `shown` is as in `visited`."""
        self._each(lambda session: session.long_visit_began(address, visit, shown=shown))

    def refresh(self) -> None:
        """Once a second, and when held answers have been sent: bring up to date what changes by itself."""
        self._each(Session.refresh)

    def freeze(self) -> None:
        """The connection is about to end: leave the terminals as they were. Lines may follow."""
        self._each(Session.freeze)

    def _each(self, show: Callable[[Session], None]) -> None:
        for session in self:
            try:
                show(session)
            except Exception:
                session.failed()
