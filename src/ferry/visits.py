"""Records of visits: one finished request or connection, and the traffic of all visits of a tunnel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .names import Endpoint, TunnelId
from .protocol.http1.request import RequestHead


@dataclass(slots=True)
class Traffic:
    """Bytes of payload, counted by the relay. `up` is from visitors to the tunnel."""

    up: int = 0
    down: int = 0
    visits: int = 0
    """Finished HTTP requests, or finished connections for the other kinds."""


class Visit(NamedTuple):
    """One finished HTTP request or connection, for the owner's session, the log and the metrics.

    Its texts come from the network unescaped: code that shows them must call `names.printable`. It is reported as one
    object and split into fields only when it is shown: a table of its fields for each visit took 4.5 of the 22 µs of
    Python that serve a request of a kept connection.
    """

    tunnel: TunnelId
    address: str
    kind: str
    peer: Endpoint
    method: str
    """Empty for a connection; a request has one, whatever its tunnel's kind."""
    target: str
    status: int
    """0 for a connection, or if the visitor left before an answer."""
    seconds: float
    up: int
    down: int
    note: str = ""
    """The error, if there was one: `your local service cannot be reached`."""


class Visited(Protocol):
    """What a record says of its tunnel."""

    id: TunnelId

    @property
    def shown_address(self) -> str: ...

    @property
    def kind(self) -> str: ...


def connection_visit(tunnel: Visited, peer: Endpoint, seconds: float, *, up: int, down: int, note: str) -> Visit:
    """The record of a finished connection from `peer` through `tunnel`."""
    address = tunnel.shown_address
    return Visit(tunnel.id, address, tunnel.kind, peer, "", address, 0, seconds, up, down, note)


def request_visit(
    tunnel: Visited, peer: Endpoint, request: RequestHead, status: int, seconds: float, up: int, down: int, note: str
) -> Visit:
    """The record of a request from `peer` through `tunnel`."""
    method, target = request.method.decode("latin-1"), request.target.decode("latin-1")
    return Visit(tunnel.id, tunnel.shown_address, tunnel.kind, peer, method, target, status, seconds, up, down, note)
