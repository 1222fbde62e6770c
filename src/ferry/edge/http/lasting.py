"""Visits that last: WebSockets and other upgraded connections, and event streams. Their owner hears when one opens."""

from __future__ import annotations

from ferry.names import Endpoint
from ferry.protocol.http1.request import RequestHead
from ferry.protocol.http1.response import ResponseHead
from ferry.visits import request_visit

from .backend import Backend


def announce(
    backend: Backend | None, request: RequestHead | None, answer: ResponseHead | None, visitor: Endpoint
) -> None:
    """Tell the owner if `answer` to `request` begins such a visit and anybody watches. Called for answers that are not
    over with their first bytes."""
    assert backend is not None
    assert request is not None
    assert answer is not None
    tunnel = backend.tunnel
    if tunnel.watched and (answer.status == 101 or answer.event_stream):
        tunnel.long_visit_began(request_visit(tunnel, visitor, request, answer.status, 0.0, 0, 0, ""))
