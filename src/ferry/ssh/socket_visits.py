"""Connects a client's channel to a Unix socket in the folder of its identity (PROTOCOL of OpenSSH, §2.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from ferry import tasks
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.policy.grants import SocketGrant
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.relay import RelayPhase
from ferry.report import Report
from ferry.streams import Sink, Stream

from .direct_open import Reached
from .host_visits import HostSplice, HostVisitor, refused_by
from .open_codes import open_failure
from .wire.channel import TunnelChannel


class Sockets(Protocol):
    """Connects to Unix sockets (`ferry.edge.hosts`)."""

    async def connect_socket(
        self, identity: str, grant: SocketGrant, join: Callable[[SocketGrant, Stream], Sink], /
    ) -> Refusal | None:
        """Calls `join` with the stream as soon as it is there, which returns the sink; or returns why not."""
        ...


class SocketVisit:
    """One open, and the visit that it becomes."""

    def __init__(self, visitor: HostVisitor, path: bytes, grant: SocketGrant, *, clock: Clock, report: Report) -> None:
        self.channel: Final = TunnelChannel(visitor.connection, None, visitor.direct)
        self._visitor = visitor
        self._path = path
        self._grant = grant
        self._report = report
        self._splice = HostSplice(clock, self._ended)
        self._task: asyncio.Task[None] | None = None
        self._joined_at = False

    def begin(self, sockets: Sockets) -> None:
        """Connect, in a task. The channel is answered then."""
        self._visitor.direct.began(self.channel, Reached(self._path, SOCKET_PORT, self._grant))
        self.channel.watch_opening(self._splice.visitor)
        self._task = tasks.spawn(f"connect {self._visitor.id} to a socket", self._connect(sockets))

    async def _connect(self, sockets: Sockets) -> None:
        connecting = sockets.connect_socket(self._visitor.identity.id, self._grant, self._joined)
        refusal = await refused_by(self._visitor, connecting)
        if refusal is not None:
            self._task = None
            self.channel.reject(open_failure(refusal))
            self._visitor.open_denied(self._path, SOCKET_PORT, refusal)

    def _joined(self, _grant: SocketGrant, stream: Stream) -> Sink:
        self._task = None
        if self._splice.phase is RelayPhase.ENDED:  # the visitor has left in this very turn
            stream.abort()
            return self._splice
        self._joined_at = True
        self._splice.join(self.channel, lambda _sink: stream)
        self._splice.stream_opened()
        self._tell("host.opened")
        return self._splice

    def _ended(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._joined_at:
            splice = self._splice
            note = splice.note or ("broken" if splice.error is not None else "")
            self._tell("host.closed", seconds=splice.seconds, up=splice.up, down=splice.down, note=note)

    def _tell(self, event: str, **more: object) -> None:
        asked, visitor = self._path.decode("utf-8", "backslashreplace"), self._visitor
        rule = {"rule": str(rule)} if (rule := self._grant.rule) else {}
        self._report(
            event,
            connection=visitor.id,
            identity=str(visitor.identity),
            asked=asked,
            address=str(self._grant),
            **rule,
            **more,
        )
