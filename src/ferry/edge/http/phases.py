"""The phases of an exchange, and a table of the legal steps in each, as in h11's `_state.py`.

A service may answer before it has read the whole request. So a phase has the state of both the request and its answer.

One step may come late, after the visitor has left: LOOKED_UP, the answer of the registry. Outside of LOOKUP its row
keeps the phase. The end of a stream never comes late here: an exchange that is over has detached its upstream
(`Upstream.abandon`, `discard`), and only that can tell an old stream's end from an event of the next request.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias


class ExchangePhase(enum.IntEnum):
    """The state of an exchange. Its number is the index in a row of the table."""

    IDLE = 0
    """There is no request, or it is over."""
    LOOKUP = 1
    """Asking the registry whether a name without a tunnel is reserved."""
    SENDING = 2
    """Some of the request's body is still to come; no answer yet."""
    WAITING = 3
    """The whole request has been read; no answer yet."""
    EARLY = 4
    """The answer has begun; some of the request's body is still to come."""
    ANSWERING = 5
    """The answer has begun; the whole request has been read."""
    RAW = 6
    """Switched to another protocol."""


class Step(enum.Enum):
    """An event of an exchange. The value describes it in the log."""

    ASK = "a request without a body"
    ASK_WITH_BODY = "a request with a body"
    LOOK_UP = "a request for a name that nobody serves"
    LOOKED_UP = "the answer of the look-up"
    SENT = "the end of the request's body"
    HEAD = "the final head of the answer"
    SWITCH = "101"
    ANSWERED = "the end of the answer"
    RAW_ENDED = "the end of both directions after 101"
    AGAIN = "a new attempt on another stream"
    REFUSE = "an answer of our own"
    BREAK = "an early end"


Row: TypeAlias = "tuple[ExchangePhase | None, ...]"
"""The next phase after one step, by the current phase; None if the step is illegal there."""

_I, _L, _S, _W, _E, _A, _R = ExchangePhase


def _row(after: Mapping[ExchangePhase, ExchangePhase]) -> Row:
    return tuple(after.get(phase) for phase in ExchangePhase)


TABLE: Final[Mapping[Step, Row]] = MappingProxyType(
    {
        Step.ASK: _row({_I: _W}),
        Step.ASK_WITH_BODY: _row({_I: _S}),
        Step.LOOK_UP: _row({_I: _L}),
        Step.LOOKED_UP: _row({phase: phase for phase in ExchangePhase} | {_L: _I}),
        Step.SENT: _row({_S: _W, _E: _A}),
        Step.HEAD: _row({_S: _E, _W: _A}),
        Step.SWITCH: _row({_W: _R}),
        Step.ANSWERED: _row({_E: _I, _A: _I}),
        Step.RAW_ENDED: _row({_R: _I}),
        Step.AGAIN: _row({_W: _I}),
        Step.REFUSE: _row({_I: _I, _L: _I, _S: _I, _W: _I}),
        # It is legal without a request too: the visitor leaves, or has yet to read its last answer.
        Step.BREAK: _row(dict.fromkeys(ExchangePhase, _I)),
    }
)
"""All legal steps. Any other step is a bug of the gateway: it ends the exchange and is logged."""

# Rows by name: a look-up for each packet is slower.
ASK, ASK_WITH_BODY, LOOK_UP = TABLE[Step.ASK], TABLE[Step.ASK_WITH_BODY], TABLE[Step.LOOK_UP]
SENT, HEAD, SWITCH, ANSWERED = TABLE[Step.SENT], TABLE[Step.HEAD], TABLE[Step.SWITCH], TABLE[Step.ANSWERED]
LOOKED_UP, RAW_ENDED, AGAIN, REFUSE, BREAK = (
    TABLE[Step.LOOKED_UP],
    TABLE[Step.RAW_ENDED],
    TABLE[Step.AGAIN],
    TABLE[Step.REFUSE],
    TABLE[Step.BREAK],
)


def name(row: Row) -> str:
    """The description of a row's step, for the log."""
    return next(step.value for step, known in TABLE.items() if known is row)
