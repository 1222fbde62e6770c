"""Answers to global requests leave in the order in which the requests came (RFC 4254 §4): replies carry no number.

Some answers take time (a forward asks the database), and what comes meanwhile waits here: as a call with the few values
that were read from its packet, never as the packet, which may have 256 KB. Past GLOBAL_REQUESTS_WAITING a request is
refused, in its turn too, and only counted. The turns are taken in a loop: asyncssh answers its queue by recursion, so
that 600 requests behind one that waited ended the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ferry import limits

Answer = bool | bytes
"""Granted or refused; bytes are what a success carries."""

Step = Callable[[], Answer | None]
"""Decides one request. None: `Turns.answer` is called with the answer later."""


class _Refusals:
    """Requests in a row that are refused when their turn comes."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 1


class Turns:
    """The requests of one connection. `reply` sends one answer; `failed` is told what a step has raised, which is
    refused: that of another request may have called it, and those behind it wait."""

    def __init__(self, reply: Callable[[Answer], None], failed: Callable[[Exception], None]) -> None:
        self._reply = reply
        self._failed = failed
        self._waiting: deque[tuple[Step, bool] | _Refusals] = deque()
        self._asked: bool | None = None
        """Whether the request that is being decided wants a reply; None while none is."""
        self._running = False
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether the next request can only be refused."""
        return len(self._waiting) >= limits.GLOBAL_REQUESTS_WAITING

    def _deciding(self) -> bool:
        return self._asked is not None

    def take(self, step: Step, *, wants_reply: bool) -> None:
        """Decide one more request, after those that came before it. The caller has seen that it is not `full`."""
        self._waiting.append((step, wants_reply))
        self._run()

    def refuse(self, *, wants_reply: bool) -> None:
        """Refuse one more request, after the answers to those that came before it."""
        if not wants_reply:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Refusals):
            last.count += 1
        else:
            self._waiting.append(_Refusals())
        self._run()

    def answer(self, answer: Answer) -> None:
        """The answer to the request that was being decided."""
        asked, self._asked = self._asked, None
        if asked and not self._closed:
            self._reply(answer)
        self._run()

    def close(self) -> None:
        """The connection is gone: nothing is decided any more, nothing answered."""
        self._closed = True
        self._waiting.clear()

    def _run(self) -> None:
        if self._running:  # a step has answered before it returned
            return
        self._running = True
        try:
            while self._waiting and not self._deciding():
                first = self._waiting[0]
                if isinstance(first, _Refusals):
                    first.count -= 1
                    if first.count == 0:
                        self._waiting.popleft()
                    self._reply(False)
                    continue
                self._waiting.popleft()
                step, self._asked = first
                try:
                    answer = step()
                except Exception as error:
                    self._failed(error)
                    answer = False if self._deciding() else None  # it may have answered before it failed
                if answer is not None:
                    self.answer(answer)
        finally:
            self._running = False
