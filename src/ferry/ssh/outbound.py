"""A client's open that leads out of the tunnels: to a host of the network, or to a Unix socket of its identity.

Only such an open has a task, and only until its target has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ferry import tasks
from ferry.clock import Clock
from ferry.errors import INTERNAL, Refusal
from ferry.names import ConnectionId
from ferry.relay import RelayPhase
from ferry.report import Report, by_rule
from ferry.streams import Stream
from ferry.visits import Traffic

from .access import Allowed
from .direct_open import DirectOpen, Reached
from .open_codes import open_failure
from .splice import Splice
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport


class OutboundVisitor(Allowed, Protocol):
    """The client that opens the channel."""

    @property
    def id(self) -> ConnectionId: ...

    @property
    def connection(self) -> ChannelTransport: ...

    @property
    def direct(self) -> DirectOpen:
        """Its own channels of this kind."""
        ...

    def open_denied(self, host: bytes, port: int, refusal: Refusal, /) -> None:
        """Tell the person and the log that an open was refused."""
        ...


class OutboundSplice(Splice):
    """The relay between the channel and the target."""

    def __init__(self, clock: Clock, over: Callable[[], None]) -> None:
        super().__init__("the target", Traffic(), clock)
        self._over = over

    def ended(self) -> None:
        self._over()


class OutboundVisit:
    """One open, and the visit that it becomes."""

    def __init__(self, visitor: OutboundVisitor, reached: Reached, asked: str, *, clock: Clock, report: Report) -> None:
        """`asked` is the target for the log."""
        self.channel: Final = TunnelChannel(visitor.connection, None, visitor.direct)
        self._visitor = visitor
        self._reached = reached
        self._asked = asked
        self._report = report
        self._splice = OutboundSplice(clock, self._ended)
        self._address = ""
        """Where it leads, once the target has answered."""
        self._rule: object = None
        """The rule of the policy that has allowed it, if there is one; None before the target has answered."""
        self._task: asyncio.Task[None] | None = None

    def _begin(self, target: str, connect: Callable[[], Awaitable[Refusal | None]]) -> None:
        """Connect to `target`, in a task. The channel is answered then."""
        self._visitor.direct.began(self.channel, self._reached)
        self.channel.watch_opening(self._splice.visitor)
        self._task = tasks.spawn(f"connect {self._visitor.id} to {target}", self._connect(connect))

    async def _connect(self, connect: Callable[[], Awaitable[Refusal | None]]) -> None:
        try:
            refusal = await connect()
        except Exception as error:  # it is logged, and the client still gets an answer
            self._visitor.connection.sink_failed(error)
            refusal = Refusal(INTERNAL, code="internal")
        if refusal is not None:
            self._task = None
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self.channel.reject(open_failure(refusal))
        self._visitor.open_denied(self._reached.host, self._reached.port, refusal)

    def _is_awaited(self, stream: Stream) -> bool:
        """The target has answered. False, with the stream aborted, if the visitor has left in this very turn."""
        self._task = None
        if self._splice.phase is not RelayPhase.ENDED:
            return True
        stream.abort()
        return False

    def _join(self, stream: Stream, address: str, rule: object) -> None:
        """Join the channel with `stream`, which leads to `address`, by a `rule` of the policy if there is one."""
        self._address, self._rule = address, rule
        self._splice.join(self.channel, lambda _sink: stream)
        self._splice.stream_opened()
        self._tell("host.opened")

    def _ended(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._address:
            splice = self._splice
            note = splice.note or ("broken" if splice.error is not None else "")
            self._tell("host.closed", seconds=splice.seconds, up=splice.up, down=splice.down, note=note)

    def _tell(self, event: str, **more: object) -> None:
        who = {"connection": self._visitor.id, "identity": str(self._visitor.identity)}
        self._report(event, **who, asked=self._asked, address=self._address, **by_rule(self._rule), **more)
