"""Answers global requests in the order in which they came (RFC 4254 §4), because replies carry no number.

Some answers take time (a forward asks the database). Requests that come meanwhile wait here: each as a call with the
few values of its packet, never as the packet, which may have 256 KB. Past GLOBAL_REQUESTS_WAITING requests are only
counted, and refused in their turn. A loop takes the turns: asyncssh answers its queue by recursion, so 600 requests
behind a waiting one ended the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ferry import limits
from ferry.limiters.rate import PerSecond

Answer = bool | bytes
"""Granted or refused; bytes are the content of a success."""

Step = Callable[[], Answer | None]
"""Decides one request. After None, `Turns.answer` gets the answer later."""


class _Refusals:
    """A number of successive requests to refuse in their turn."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 1


class Turns:
    """The requests of one connection. `reply` sends one answer. `failed` gets the error of a step, whose request is
    then refused: the answer to another request may have called the step, and the requests behind it wait."""

    def __init__(self, reply: Callable[[Answer], None], failed: Callable[[Exception], None]) -> None:
        self._reply = reply
        self._failed = failed
        self._rate = PerSecond()
        self._waiting: deque[tuple[Step, bool] | _Refusals] = deque()
        self._asked: bool | None = None
        """Whether the current request wants a reply; None if no request is being decided."""
        self._running = False
        self._closed = False

    def may_take(self, now: float, per_second: int) -> bool:
        """Count one more request. Whether it may be taken: it is among the first `per_second` of this second, and fewer
        than GLOBAL_REQUESTS_WAITING wait."""
        return self._rate.allows(now, per_second) and len(self._waiting) < limits.GLOBAL_REQUESTS_WAITING

    def _deciding(self) -> bool:
        return self._asked is not None

    def take(self, step: Step, *, wants_reply: bool) -> None:
        """Decide one more request, after the earlier ones. The caller has asked `may_take`."""
        self._waiting.append((step, wants_reply))
        self._run()

    def refuse(self, *, wants_reply: bool) -> None:
        """Refuse one more request, after the answers to the earlier ones."""
        if not wants_reply:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(last, _Refusals):
            last.count += 1
        else:
            self._waiting.append(_Refusals())
        self._run()

    def answer(self, answer: Answer) -> None:
        """Answer the current request."""
        asked, self._asked = self._asked, None
        if asked and not self._closed:
            self._reply(answer)
        self._run()

    def close(self) -> None:
        """The connection is gone: decide and answer no more requests."""
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
                    answer = False if self._deciding() else None  # the step may have answered before its error
                if answer is not None:
                    self.answer(answer)
        finally:
            self._running = False
