"""Where an exchange is, and what may happen to it there: a table, as in h11's `_state.py`.

A request and its answer go their own ways: a service may answer before it has read the whole request. So a phase says
how far both are.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias


class Phase(enum.IntEnum):
    """How far an exchange is: the place in a row of the table."""

    IDLE = 0
    """No request, or it is over."""
    LOOKUP = 1
    """Asking whether a name that nobody serves is somebody's."""
    SENDING = 2
    """The request's body is coming, and there is no answer yet."""
    WAITING = 3
    """The request has been read whole, and there is no answer yet."""
    EARLY = 4
    """The answer has begun, and the request's body is still coming."""
    ANSWERING = 5
    """The answer has begun, and the request has been read whole."""
    RAW = 6
    """Switched to another protocol."""


class Step(enum.Enum):
    """What happens to an exchange."""

    ASK = "a request without a body"
    ASK_WITH_BODY = "a request with a body"
    LOOK_UP = "a request for a name that nobody serves"
    SENT = "the end of the request's body"
    HEAD = "the final head of the answer"
    SWITCH = "101"
    ANSWERED = "the end of the answer"
    RAW_ENDED = "the end of both directions after 101"
    AGAIN = "a stream that failed before it was of use"
    REFUSE = "an answer of our own"
    BREAK = "an end in the middle"


Row: TypeAlias = "tuple[Phase | None, ...]"
"""Where one step leads, by the phase in which it is taken; None where it cannot be taken."""

_I, _L, _S, _W, _E, _A, _R = Phase


def _row(after: Mapping[Phase, Phase]) -> Row:
    return tuple(after.get(phase) for phase in Phase)


TABLE: Final[Mapping[Step, Row]] = MappingProxyType(
    {
        Step.ASK: _row({_I: _W}),
        Step.ASK_WITH_BODY: _row({_I: _S}),
        Step.LOOK_UP: _row({_I: _L}),
        Step.SENT: _row({_S: _W, _E: _A}),
        Step.HEAD: _row({_S: _E, _W: _A}),
        Step.SWITCH: _row({_W: _R}),
        Step.ANSWERED: _row({_E: _I, _A: _I}),
        Step.RAW_ENDED: _row({_R: _I}),
        Step.AGAIN: _row({_W: _I}),
        Step.REFUSE: _row({_I: _I, _L: _I, _S: _I, _W: _I}),
        # Also where nothing is going on: the visitor leaves, or its last answer is still to be read.
        Step.BREAK: _row(dict.fromkeys(Phase, _I)),
    }
)
"""All that may happen. Any other step is a fault of ours: it ends the exchange, and the log says so."""

# Rows by name: looking one up for every packet is slower.
ASK, ASK_WITH_BODY, LOOK_UP = TABLE[Step.ASK], TABLE[Step.ASK_WITH_BODY], TABLE[Step.LOOK_UP]
SENT, HEAD, SWITCH, ANSWERED = TABLE[Step.SENT], TABLE[Step.HEAD], TABLE[Step.SWITCH], TABLE[Step.ANSWERED]
RAW_ENDED, AGAIN, REFUSE, BREAK = TABLE[Step.RAW_ENDED], TABLE[Step.AGAIN], TABLE[Step.REFUSE], TABLE[Step.BREAK]


def name(row: Row) -> str:
    """What that step is, for the log."""
    return next(step.value for step, known in TABLE.items() if known is row)
