"""Answers global requests in the order in which they came (RFC 4254 §4), because replies carry no number.

Some decisions take time (a forward asks the database), and one request is decided after the other. An answer may also be
held: then the requests behind it are decided, and their answers wait with it. Requests wait as a call with the few
values of their packet, never as the packet, which may have 256 KB. Past GLOBAL_REQUESTS_WAITING requests are only
counted, and refused in their turn. A loop takes the turns: asyncssh answers its queue by recursion, so 600 requests
behind a waiting one ended the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ferry import limits
from ferry.limiters.rate import PerSecond

Reply = bool | bytes
"""Granted or refused; bytes are the content of a success."""

Step = Callable[[], Reply | None]
"""Decides one request. After None, `Turns.answer` gets the answer later."""


class _Request:
    """One request, from its read to its answer."""

    __slots__ = ("answer", "held", "sent", "step", "wants_reply")

    def __init__(self, step: Step, *, wants_reply: bool) -> None:
        self.step = step
        self.wants_reply = wants_reply
        self.answer: Reply | None = None
        self.held = False
        self.sent: Callable[[], None] | None = None


class _Refusals:
    """A number of successive requests to refuse in their turn."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 1


class Turns:
    """The requests of one connection. `reply` sends one answer. `failed` gets the error of a step, whose request is
    then refused: the answer to another request may have called the step, and the requests behind it wait."""

    def __init__(self, reply: Callable[[Reply], None], failed: Callable[[Exception], None]) -> None:
        self._reply = reply
        self._failed = failed
        self._rate = PerSecond()
        self._unanswered: deque[_Request | _Refusals] = deque()
        self._undecided: deque[_Request] = deque()
        """Those of `_unanswered` whose steps have not begun."""
        self._deciding: _Request | None = None
        self._running = False

    def may_take(self, now: float, per_second: int) -> bool:
        """Count one more request. Whether it may be taken: it is among the first `per_second` of this second, and fewer
        than GLOBAL_REQUESTS_WAITING wait behind another one."""
        return self._rate.allows(now, per_second) and len(self._unanswered) <= limits.GLOBAL_REQUESTS_WAITING

    def take(self, step: Step, *, wants_reply: bool) -> None:
        """Decide one more request, after the earlier ones. The caller has asked `may_take`."""
        request = _Request(step, wants_reply=wants_reply)
        self._unanswered.append(request)
        self._undecided.append(request)
        self._run()

    def refuse(self, *, wants_reply: bool) -> None:
        """Refuse one more request, after the answers to the earlier ones."""
        if not wants_reply:
            return
        last = self._unanswered[-1] if self._unanswered else None
        if isinstance(last, _Refusals):
            last.count += 1
        else:
            self._unanswered.append(_Refusals())
        self._run()

    @property
    def deciding(self) -> bool:
        """Whether a request is being decided, and one more may wait for it."""
        return self._deciding is not None and len(self._unanswered) <= limits.GLOBAL_REQUESTS_WAITING

    def answer(self, answer: Reply, *, sent: Callable[[], None] | None = None, held: bool = False) -> None:
        """Answer the request that is being decided, once the earlier ones are answered. A `held` answer also waits for
        `release`. `sent` is called when the answer has been sent, and never if the connection closes before."""
        request, self._deciding = self._deciding, None
        if request is not None:
            request.answer, request.sent, request.held = answer, sent, held
        self._run()

    def release(self) -> None:
        """Send the held answers, and those behind them."""
        for request in self._unanswered:
            if isinstance(request, _Request):
                request.held = False
        self._run()

    def close(self) -> None:
        """The connection is gone: decide and answer no more requests."""
        self._unanswered.clear()
        self._undecided.clear()

    def _run(self) -> None:
        if self._running:  # a step has answered before it returned
            return
        self._running = True
        try:
            while self._decide_one() or self._answer_one():
                pass
        finally:
            self._running = False

    def _decide_one(self) -> bool:
        """Whether a step has begun."""
        if self._deciding is not None or not self._undecided:
            return False
        request = self._deciding = self._undecided.popleft()
        try:
            answer = request.step()
        except Exception as error:
            self._failed(error)
            answer = False if self._deciding is request else None  # the step may have answered before its error
        if answer is not None:
            self.answer(answer)
        return True

    def _answer_one(self) -> bool:
        """Whether the first answer could be sent."""
        if not self._unanswered:
            return False
        first = self._unanswered[0]
        if isinstance(first, _Refusals):
            first.count -= 1
            if first.count == 0:
                self._unanswered.popleft()
            self._reply(False)
            return True
        if first.answer is None or first.held:
            return False
        self._unanswered.popleft()
        if first.wants_reply:
            self._reply(first.answer)
        if first.sent is not None:
            try:
                first.sent()
            except Exception as error:
                self._failed(error)
        return True
