"""Connects a client's channel to a host of the network that its key may reach (`policy.reach`), from the look-up to the end.

This is the only kind of open that has a task, and only until the host has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from ferry import tasks
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.names import ConnectionId, Endpoint, printable
from ferry.policy.grants import HostGrant
from ferry.policy.reach import Host, Wanted, decide_address, decide_host
from ferry.policy.rules import Rule
from ferry.protocol.targets import IpAddress
from ferry.relay import RelayPhase
from ferry.report import Report
from ferry.streams import Sink, Stream
from ferry.visits import Traffic

from .access import Allowed
from .direct_open import DirectOpen, HostAt, Reached
from .open_codes import open_failure
from .splice import Splice
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport


class Hosts(Protocol):
    """Connects to hosts (`ferry.edge.hosts`)."""

    async def connect(
        self,
        identity: str,
        host: Host,
        decide: Callable[[IpAddress, bool], HostGrant | Refusal],
        join: Callable[[HostGrant, Stream], Sink],
        /,
    ) -> Refusal | None:
        """Look `host` up, ask `decide` about each address and whether it is this host's own, and connect to one that it
        grants. Calls `join` with the stream as soon as it is there, which returns the sink; or returns why not."""
        ...


class HostVisitor(Allowed, Protocol):
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


class HostVisit:
    """One open, and the visit that it becomes."""

    def __init__(
        self, visitor: HostVisitor, wanted: Callable[[], Wanted], host: Host, *, clock: Clock, report: Report
    ) -> None:
        self.channel: Final = TunnelChannel(visitor.connection, None, visitor.direct)
        self._visitor = visitor
        self._wanted_now = wanted
        """What is wanted, with the rules in force at that moment: they may change while the host is looked up."""
        self._wanted = wanted()
        self._host = host
        self._clock = clock
        self._report = report
        self._splice = HostSplice(clock, self._ended)
        self._own: dict[IpAddress, bool] = {}
        """The addresses that were decided on, and whether each is this host's own."""
        self._rule: Rule | None = None
        """The rule of the policy that has allowed it; None before the host has answered."""
        self._endpoint: Endpoint | None = None
        """Where it leads, once the host has answered."""
        self._task: asyncio.Task[None] | None = None

    def begin(self, hosts: Hosts) -> None:
        """Look the host up and connect, in a task. The channel is answered then."""
        wanted = self._wanted
        self._visitor.direct.began(self.channel, Reached(wanted.host, wanted.port, HostAt(self._host)))
        self.channel.watch_opening(self._splice.visitor)
        self._task = tasks.spawn(f"connect {self._visitor.id} to a host", self._connect(hosts))

    async def _connect(self, hosts: Hosts) -> None:
        wanted = self._wanted
        refusal = await refused_by(self._visitor, hosts.connect(wanted.who.id, self._host, self._decide, self._joined))
        if refusal is not None:
            self._task = None
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        self.channel.reject(open_failure(refusal))
        self._visitor.open_denied(self._wanted.host, self._wanted.port, refusal)

    def _decide(self, found: IpAddress, here: bool) -> HostGrant | Refusal:
        self._own[found] = here
        return decide_address(self._wanted_now(), self._host, found, here=here)

    def _joined(self, grant: HostGrant, stream: Stream) -> Sink:
        self._task = None
        if self._splice.phase is RelayPhase.ENDED:  # the visitor has left in this very turn
            stream.abort()
            return self._splice
        found = next(address for address in self._own if str(address) == grant.endpoint.host)
        decided = self._decide(found, self._own[found])
        if isinstance(decided, Refusal):  # by rules that are new since the host was asked
            stream.abort()
            self._refuse(decided)
            return self._splice
        wanted, self._endpoint = self._wanted_now(), grant.endpoint
        self._rule = wanted.host_rule
        at = HostAt(self._host, found, self._own[found])
        self._visitor.direct.began(self.channel, Reached(wanted.host, wanted.port, at))
        self._splice.join(self.channel, lambda _sink: stream)
        self._splice.stream_opened()
        self._tell("host.opened")
        return self._splice

    def _ended(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._endpoint is not None:
            splice = self._splice
            note = splice.note or ("broken" if splice.error is not None else "")
            self._tell("host.closed", seconds=splice.seconds, up=splice.up, down=splice.down, note=note)

    def _tell(self, event: str, **more: object) -> None:
        wanted = self._wanted
        asked = f"{printable(wanted.host.decode('ascii', 'replace'), 80)}:{wanted.port}"
        who = {"connection": self._visitor.id, "identity": str(wanted.who)}
        rule = {"rule": str(self._rule)} if self._rule else {}
        self._report(event, **who, asked=asked, address=str(self._endpoint), **rule, **more)


class HostSplice(Splice):
    """The relay between the channel and the host."""

    def __init__(self, clock: Clock, over: Callable[[], None]) -> None:
        super().__init__("the host", Traffic(), clock)
        self._over = over

    def ended(self) -> None:
        self._over()


async def refused_by(visitor: HostVisitor, connecting: Awaitable[Refusal | None]) -> Refusal | None:
    """Why nothing was connected to. An error of ours is logged, and the client still gets an answer."""
    try:
        return await connecting
    except Exception as error:
        visitor.connection.sink_failed(error)
        return Refusal("an error in the gateway ended this: its log says more", code="internal")


def refusal_at(wanted: Wanted, at: HostAt) -> Refusal | None:
    """The refusal of a visit that is open, by what decides now."""
    host = decide_host(wanted)
    if isinstance(host, Refusal):
        return host
    if at.found is None:  # not connected yet: its addresses are still decided on
        return None
    decided = decide_address(wanted, at.host, at.found, here=at.here)
    return decided if isinstance(decided, Refusal) else None
