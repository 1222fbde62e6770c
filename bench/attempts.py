"""A measure, made again while the host of this virtual machine disturbs it: by how much it does, never by what is found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from .machine import HostShare
from .processes import BenchError

DISTURBED = 0.05  # the host's share of the time from which on a measure is made again; 0.02 is usual
PAUSES = (10.0, 30.0, 90.0)  # seconds before another attempt: what disturbs lasts for seconds to minutes
MOST = 1 + len(PAUSES)  # attempts
_Found = TypeVar("_Found")


class Host(Protocol):
    """What tells the share of the time that the host took since this was made, 0 to 1."""

    def taken(self) -> float: ...


class Attempt(NamedTuple, Generic[_Found]):
    """What was found, or why nothing was, and what the host took meanwhile."""

    taken: float
    found: _Found | None
    fault: str = ""


def attempts(
    measure: Callable[[], _Found],
    host: Callable[[], Host] = HostShare,
    sleep: Callable[[float], None] = time.sleep,
    pauses: Sequence[float] = PAUSES,
) -> list[Attempt[_Found]]:
    """All up to the first that the host left alone; if it left none alone, one after each of `pauses` (seconds) too."""
    made: list[Attempt[_Found]] = []
    for pause in (0.0, *pauses):
        if made and made[-1].taken <= DISTURBED:
            break
        sleep(pause)
        share = host()
        try:
            found = measure()
        except BenchError as error:
            made.append(Attempt(share.taken(), None, str(error)))
        else:
            made.append(Attempt(share.taken(), found))
    return made


def least_disturbed(made: Sequence[Attempt[_Found]]) -> Attempt[_Found]:
    """The attempt that counts."""
    return min(made, key=lambda attempt: attempt.taken)
