"""Connects a client's channel to a Unix socket in the folder of its identity (PROTOCOL of OpenSSH, §2.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.policy.grants import SocketGrant
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.report import Report
from ferry.streams import Sink, Stream

from .direct_open import Reached
from .outbound import OutboundVisit, OutboundVisitor


class Sockets(Protocol):
    """Connects to Unix sockets (`ferry.edge.hosts`)."""

    async def connect_socket(
        self, identity: str, grant: SocketGrant, join: Callable[[SocketGrant, Stream], Sink], /
    ) -> Refusal | None:
        """Calls `join` with the stream as soon as it is there, which returns the sink; or returns why not."""
        ...


class SocketVisit(OutboundVisit):
    """One open, and the visit that it becomes."""

    def __init__(
        self, visitor: OutboundVisitor, path: bytes, grant: SocketGrant, *, clock: Clock, report: Report
    ) -> None:
        asked = path.decode("utf-8", "backslashreplace")
        super().__init__(visitor, Reached(path, SOCKET_PORT, grant), asked, clock=clock, report=report)
        self._grant = grant

    def begin(self, sockets: Sockets) -> None:
        """Connect, in a task. The channel is answered then."""
        identity = self._visitor.identity.id
        self._begin("a socket", lambda: sockets.connect_socket(identity, self._grant, self._joined))

    def _joined(self, _grant: SocketGrant, stream: Stream) -> Sink:
        if self._is_awaited(stream):
            self._join(stream, str(self._grant), self._grant.rule)
        return self._splice
