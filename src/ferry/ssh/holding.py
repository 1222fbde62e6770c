"""Holds visitors of a new forward until the words of its session are known, and says which forwards those words shape.

Stock ssh requests its forwards first, then opens its session and sends its words (`ssh -R 80:... gw auth=...`).
Visitors wait meanwhile, so that a tunnel is never more open than its owner wants.

* The words of a session shape the forwards that the client requested since its previous session opened.
* A forward at the start of a connection: stock ssh opens its session before it answers a keepalive. So if the answer
  comes and no session is open, visitors may pass. With `ControlPersist` the session opens after it, so words that come
  within HOLD_SECONDS shape the forward all the same.
* The start of a connection: stock ssh requests the forwards of its own command before it answers anything that comes
  behind the end of the log-in. So a keepalive goes there; what is requested behind its answer comes from another command
  (`ssh -O forward`). For other programs the start has HOLD_SECONDS.
* A later forward (`ssh -O forward`, a second command over a shared connection): the session of its command, if it has
  one, opens after the forward is granted. Visitors wait for HOLD_SECONDS.
* A forward is settled once its words are known, or once it is known that none will come. No session changes it then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ferry import limits


class HeldTunnel(Protocol):
    """A tunnel whose visitors wait."""

    def let_through(self) -> None:
        """Serve the waiting visitors, and all later ones."""
        ...

    def send_host(self, host: str, /) -> None:
        """Send this Host to the local service, in place of the visitor's."""
        ...


class RequestedForward:
    """One forward, from the read of its request on."""

    __slots__ = ("due", "early", "host_header", "refused", "sessions", "tunnel")

    def __init__(self, sessions: int, *, early: bool) -> None:
        self.sessions = sessions
        """The number of sessions that had opened before."""
        self.early = early
        """It belongs to the command that made the connection."""
        self.tunnel: HeldTunnel | None = None
        self.due: HeldTunnel | None = None
        """The tunnel, once visitors need not wait for a session that has yet to open."""
        self.refused: str | None = None
        """For the log: the error in the words that shape it."""
        self.host_header = ""
        """The Host for the local service, from the words that shape it; empty: the visitor's."""

    def shaped_by(self, session: int) -> bool:
        """Whether the words of the session with this number shape it."""
        return self.sessions >= session - 1


class Holding:
    """The unsettled forwards of one connection, made after its log-in. `ping` sends the client a keepalive.
    `session_first`: the client opens its session before it answers one."""

    def __init__(self, ping: Callable[[], asyncio.Future[Any]], *, session_first: bool) -> None:
        self._ping = ping
        self._early_until = asyncio.get_running_loop().time() + limits.HOLD_SECONDS
        self._session_first = session_first
        self._starts = True
        """The client has not answered the keepalive at the end of its log-in."""
        if session_first:
            ping().add_done_callback(self._started)
        self._made_connection = False
        """The command of the first session has made the connection, for its forwards."""
        self._sessions = 0
        self._silent: set[int] = set()
        """Open sessions that have not sent their words."""
        self._unsettled: dict[RequestedForward, None] = {}

    # --- forwards

    def requested(self) -> RequestedForward:
        """The client requests a forward."""
        early = self._sessions == 0 and self._is_start
        forward = RequestedForward(self._sessions, early=early)
        self._unsettled[forward] = None
        return forward

    @property
    def _is_start(self) -> bool:
        return self._starts if self._session_first else asyncio.get_running_loop().time() <= self._early_until

    def _started(self, _answer: asyncio.Future[Any]) -> None:
        self._starts = False

    def forget(self, forward: RequestedForward) -> None:
        """The forward was refused, or has closed: a session that never sends its words must not keep it."""
        self._unsettled.pop(forward, None)

    def granted(self, forward: RequestedForward, tunnel: HeldTunnel, *, silence: float) -> None:
        """The forward was granted. For `silence` seconds we send the client nothing, so it cannot answer either."""
        if forward.host_header:
            tunnel.send_host(forward.host_header)
        if forward not in self._unsettled:  # its words have come already
            tunnel.let_through()
            return
        forward.tunnel = tunnel
        if forward.early:
            self._ping().add_done_callback(lambda _: self._answered(forward, tunnel))
        asyncio.get_running_loop().call_later(silence + limits.HOLD_SECONDS, partial(self._pause_over, forward, tunnel))

    def _answered(self, forward: RequestedForward, tunnel: HeldTunnel) -> None:
        forward.due = tunnel
        if forward.refused is None and not self._awaits_words(forward):
            tunnel.let_through()

    def _pause_over(self, forward: RequestedForward, tunnel: HeldTunnel) -> None:
        if forward.refused is not None:
            return
        forward.due = tunnel
        tunnel.let_through()  # the words of an open session may still close it
        if not self._awaits_words(forward):
            self._unsettled.pop(forward, None)

    def _awaits_words(self, forward: RequestedForward) -> bool:
        return any(forward.shaped_by(session) for session in self._silent)

    # --- sessions

    def session_opened(self) -> int:
        """A session has opened. Returns its number."""
        self._sessions += 1
        self._silent.add(self._sessions)
        return self._sessions

    def words_said(self, session: int, host_header: str = "") -> int:
        """The session's words are valid: let the visitors of its forwards through. `host_header` is as in `Words`.
        Returns the number of forwards that the words shape."""
        self._silent.discard(session)
        shaped = [forward for forward in self._unsettled if forward.shaped_by(session)]
        if session == 1:
            self._made_connection = any(forward.early for forward in shaped) or not self._session_first
        for forward in shaped:
            if host_header:
                forward.host_header = host_header
                if forward.tunnel is not None:
                    forward.tunnel.send_host(host_header)
            if not self._awaits_words(forward):
                self._unsettled.pop(forward, None)
                if forward.tunnel is not None:
                    forward.tunnel.let_through()
        return len(shaped)

    def made_connection(self, session: int) -> bool:
        """Whether the command of the session, whose words are known, has made the connection for its forwards. A session
        that shares a connection (`ControlMaster`) is not the first, or opens after the forwards are settled."""
        return session == 1 and self._made_connection

    def session_gone(self, session: int) -> None:
        """The session has closed without words."""
        self._silent.discard(session)
        for forward in list(self._unsettled):
            if forward.due is not None and not self._awaits_words(forward):
                del self._unsettled[forward]
                forward.due.let_through()

    def words_refused(self, session: int, why: str) -> list[RequestedForward]:
        """The session's words are invalid. Returns the forwards that they shape; the caller must close or refuse
        these."""
        self._silent.discard(session)
        shaped = [forward for forward in self._unsettled if forward.shaped_by(session)]
        for forward in shaped:
            forward.refused = why
            del self._unsettled[forward]
        return shaped
