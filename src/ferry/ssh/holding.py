"""When visitors are let through to a new forward, and which forwards the words of a session shape.

Stock ssh asks for its forwards first, then opens its session and says its words (`ssh -R 80:... gw auth=...`). Visitors
wait meanwhile: a tunnel is never more open than its owner asked.

* The words of a session shape the forwards that were asked for since the session before it opened.
* A forward from the first moments of a connection: stock ssh sends its session-open before it answers a keepalive. So
  once that is answered and no session is open, no words come, and visitors are let through.
* A forward that is asked for later (`ssh -O forward`, a second command over a shared connection): the session of its
  command, if it has one, opens only after the forward is granted. It is held for a pause of HOLD_SECONDS.
* A forward is settled once its words are known, or it is known that none come. Then no session changes it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ferry import limits


class Held(Protocol):
    """A tunnel whose visitors wait."""

    def let_through(self) -> None:
        """Serve those who waited, and all who come."""
        ...


class Asked:
    """One forward, from the moment when its request was read."""

    __slots__ = ("due", "early", "refused", "sessions", "tunnel")

    def __init__(self, sessions: int, *, early: bool) -> None:
        self.sessions = sessions
        """How many sessions had opened by then."""
        self.early = early
        """It belongs to the command that made the connection."""
        self.tunnel: Held | None = None
        self.due: Held | None = None
        """The tunnel, once visitors need not wait for a session that has not opened yet."""
        self.refused: str | None = None
        """Why the words that shape it were not understood, for the log."""

    def shaped_by(self, session: int) -> bool:
        """Whether the words of the session with that number shape it."""
        return self.sessions >= session - 1


class Holding:
    """The forwards of one connection that are not settled; made when it has logged in. `ping` asks for a sign of life from
    the client; `session_first`: it opens its session before it answers a keepalive."""

    def __init__(self, ping: Callable[[], asyncio.Future[Any]], *, session_first: bool) -> None:
        self._ping = ping
        self._early_until = asyncio.get_running_loop().time() + limits.HOLD_SECONDS
        self._session_first = session_first
        self._sessions = 0
        self._silent: set[int] = set()
        """Sessions that are open and have not said their words."""
        self._unsettled: dict[Asked, None] = {}

    # --- forwards

    def asked(self) -> Asked:
        """A forward is being asked for."""
        early = self._sessions == 0 and asyncio.get_running_loop().time() <= self._early_until
        asked = Asked(self._sessions, early=early)
        self._unsettled[asked] = None
        return asked

    def forget(self, asked: Asked) -> None:
        """It was not granted, or has closed: a session that never says its words must not keep it."""
        self._unsettled.pop(asked, None)

    def granted(self, asked: Asked, tunnel: Held, *, silence: float) -> None:
        """It was granted. `silence`: for so many seconds the client may be sent nothing, so it cannot answer either."""
        if asked not in self._unsettled:  # its words have come
            tunnel.let_through()
            return
        asked.tunnel = tunnel
        if asked.early:
            self._ping().add_done_callback(lambda _: self._answered(asked, tunnel))
        asyncio.get_running_loop().call_later(silence + limits.HOLD_SECONDS, partial(self._pause_over, asked, tunnel))

    def _answered(self, asked: Asked, tunnel: Held) -> None:
        asked.due = tunnel
        if asked.refused is None and not self._awaits_words(asked):
            tunnel.let_through()
            if self._session_first:
                self._unsettled.pop(asked, None)

    def _pause_over(self, asked: Asked, tunnel: Held) -> None:
        if asked.refused is not None:
            return
        asked.due = tunnel
        tunnel.let_through()  # a session that is open and says nothing holds it no longer; words may still close it
        if not self._awaits_words(asked):
            self._unsettled.pop(asked, None)

    def _awaits_words(self, asked: Asked) -> bool:
        return any(asked.shaped_by(session) for session in self._silent)

    # --- sessions

    def session_opened(self) -> int:
        """A session has opened: its number."""
        self._sessions += 1
        self._silent.add(self._sessions)
        return self._sessions

    def session_said(self, session: int) -> None:
        """Its words are understood: visitors of what they shape are let through."""
        self._silent.discard(session)
        for asked in list(self._unsettled):
            if asked.shaped_by(session) and not self._awaits_words(asked):
                del self._unsettled[asked]
                if asked.tunnel is not None:
                    asked.tunnel.let_through()

    def session_gone(self, session: int) -> None:
        """It has closed and said nothing."""
        self._silent.discard(session)
        for asked in list(self._unsettled):
            if asked.due is not None and not self._awaits_words(asked):
                del self._unsettled[asked]
                asked.due.let_through()

    def session_refused(self, session: int, why: str) -> list[Asked]:
        """Its words are not understood: what they shape, of which nothing may stay open, or be granted any more."""
        self._silent.discard(session)
        shaped = [asked for asked in self._unsettled if asked.shaped_by(session)]
        for asked in shaped:
            asked.refused = why
            del self._unsettled[asked]
        return shaped
