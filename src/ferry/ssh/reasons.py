"""Gives a person the time to read why a forward is refused, before ssh gets the answer.

The answer to a forward has no room for a reason: ssh prints `remote port forwarding failed`, and with
`ExitOnForwardFailure` it exits. So the answers to refused forwards of a new connection are held, all together and once:

* A session opens: it writes the reasons, and READ_SECONDS later the answers follow.
* The client answers a keepalive and no session is open: none will come (`ssh -N`). If the connection has served nothing
  either, it ends with a DISCONNECT that carries the reasons, if the client prints it. Otherwise the answers follow.
* After REASON_SECONDS the answers follow in any case.

Answers to later refused forwards (`ssh -O forward`) are held for READ_SECONDS if a session is open: it writes the reason
first, and takes its live line away, behind which ssh would write its own line.

An unknown program gets its answers at once: a library may ask for another name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ferry import limits

from .notices import refusal_line
from .refusals import RefusedForward

_PROGRAMS: Final = ("OpenSSH_", "PuTTY_", "dropbear_")
"""The beginnings of the versions of programs that were tried: they open their session before they answer a
keepalive."""
_PRINT: Final = ("OpenSSH_", "PuTTY_")
"""Those that print the text of a DISCONNECT. Dropbear prints `Disconnect received` alone, and exits with 0."""


class ReasonsLine(Protocol):
    """The connection."""

    def ping(self) -> asyncio.Future[Any]:
        """Send a keepalive; the answer completes the future."""
        ...

    def release_answers(self) -> None:
        """Send the answers that are held, and those behind them."""
        ...


class Reasons:
    """The refused forwards of one connection, from its log-in on.

    `end` ends the connection with a reason; `may_end` says whether the operator allows that. `all_decided` says whether
    no request of the connection waits for its decision, `watched` whether a session is open. `released` is called when
    held answers have been sent.
    """

    __slots__ = (
        "_all_decided",
        "_end",
        "_known",
        "_line",
        "_may_end",
        "_no_session",
        "_over",
        "_prints",
        "_refused",
        "_released",
        "_session",
        "_timer",
        "_used",
        "_watched",
    )

    def __init__(
        self,
        line: ReasonsLine,
        client_version: str,
        *,
        end: Callable[[str], None],
        may_end: Callable[[], bool],
        all_decided: Callable[[], bool],
        watched: Callable[[], bool],
        released: Callable[[], None],
    ) -> None:
        self._line = line
        self._end = end
        self._may_end = may_end
        self._all_decided = all_decided
        self._watched = watched
        self._released = released
        self._known = client_version.startswith(_PROGRAMS)
        self._prints = client_version.startswith(_PRINT)
        self._refused: list[RefusedForward] = []
        self._session = False
        """A session has opened."""
        self._no_session = False
        """The client has answered a keepalive, and no session was open."""
        self._used = False
        """The connection has opened a channel, or has a forward: it is never ended for a refusal."""
        self._over = False
        """The reasons have been shown, or no answer is due to be held for them any more."""
        self._timer: asyncio.TimerHandle | None = None  # while answers are held

    @property
    def held(self) -> bool:
        """Answers are held."""
        return self._timer is not None

    def hold(self, refused: RefusedForward, *, early: bool) -> bool:
        """A forward is refused. `early`: the command that made the connection has requested it. Returns whether to hold
        its answer."""
        if not self._known:
            return False
        if self._over or not early:
            return self._hold_for_session()
        self._refused.append(refused)
        if self._timer is None:
            self._release_in(limits.REASON_SECONDS)
            self._line.ping().add_done_callback(self._answered)
        return True

    def _hold_for_session(self) -> bool:
        if not self._watched():
            return False
        if self._timer is None:
            self._release_in(limits.READ_SECONDS)
        return True

    def used(self) -> None:
        """The connection has opened another channel, or has got a forward."""
        self._used = True

    def session_opened(self) -> None:
        """A session has opened: it will write the reasons."""
        self._session = self._used = True

    def shown(self) -> None:
        """A session has written the reasons."""
        if self._timer is None:
            self._over = True
        elif not self._over:
            self._release_in(limits.READ_SECONDS)

    def decided(self) -> None:
        """No request of the connection waits for its decision now."""
        if self._no_session and not self._over:
            self._end_or_release()

    def close(self) -> None:
        """The connection is gone."""
        self._over = True
        self._stop()

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or self._over or self._session:
            return
        self._no_session = True
        if self._all_decided():
            self._end_or_release()

    def _end_or_release(self) -> None:
        if self._used or not self._prints or not self._may_end():
            self._release()
        else:
            self.close()
            self._end(disconnect_text(self._refused))

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release_in(self, seconds: float) -> None:
        self._stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._release)

    def _release(self) -> None:
        self.close()
        self._line.release_answers()
        self._released()


def disconnect_text(refused: Sequence[RefusedForward]) -> str:
    """The reasons as one line of REASON_BYTES at most, where ssh cuts. Those without room are counted."""
    lines = [refusal_line(one) for one in refused]
    wait = max(one.retry_after for one in refused)
    end = f"; retry-after={wait}" if wait else ""
    for shown in range(len(lines), 0, -1):
        more = len(lines) - shown
        text = "; ".join(lines[:shown]) + (f" (and {more} more: ssh -v shows them)" if more else "") + end
        if len(text.encode()) <= limits.REASON_BYTES:
            return text
    return lines[0].encode()[: limits.REASON_BYTES].decode(errors="ignore")
