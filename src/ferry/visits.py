"""What is told of visits: one finished request or connection, and what all those of a tunnel have sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .names import Endpoint, TunnelId


@dataclass(slots=True)
class Traffic:
    """What went through, counted by whoever relays. `up` is from visitors to the tunnel, in bytes of payload."""

    up: int = 0
    down: int = 0
    visits: int = 0
    """HTTP requests, or connections for the other kinds."""


class Visit(NamedTuple):
    """One finished HTTP request or TCP connection, for the owner's session, the log and the metrics.

    Texts are as they came from the network: whoever shows them escapes them (`names.printable`). It is reported as one
    object, and taken apart only where it is shown: a table of its parts for each cost 4.5 µs of 22 (all of the Python
    that serves a request of a kept connection).
    """

    tunnel: TunnelId
    address: str
    kind: str
    peer: Endpoint
    method: str
    """Empty for TCP."""
    target: str
    status: int
    """0 for TCP, or when the visitor left before an answer."""
    seconds: float
    up: int
    down: int
    note: str = ""
    """What went wrong, if something did: `nothing answers at your local target`."""
