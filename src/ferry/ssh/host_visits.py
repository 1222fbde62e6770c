"""Connects a client's channel to a host of the network that its key may reach (`policy.reach`), from the look-up to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.policy.grants import HostGrant
from ferry.policy.reach import Host, Wanted, decide_address, decide_host
from ferry.protocol.targets import IpAddress
from ferry.protocol.typed_forward import shown_target
from ferry.report import Report
from ferry.streams import Sink, Stream

from .direct_open import HostAt, Reached
from .outbound import OutboundVisit, OutboundVisitor


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


class HostVisit(OutboundVisit):
    """One open, and the visit that it becomes."""

    def __init__(
        self, visitor: OutboundVisitor, wanted_now: Callable[[], Wanted], host: Host, *, clock: Clock, report: Report
    ) -> None:
        """`wanted_now` has the rules in force at that moment: they may change while the host is looked up."""
        wanted = wanted_now()
        reached = Reached(wanted.host, wanted.port, HostAt(host))
        super().__init__(visitor, reached, shown_target(wanted.host, wanted.port), clock=clock, report=report)
        self._wanted_now = wanted_now
        self._host = host
        self._own: dict[IpAddress, bool] = {}
        """The addresses that were decided on, and whether each is this host's own."""

    def begin(self, hosts: Hosts) -> None:
        """Look the host up and connect, in a task. The channel is answered then."""
        identity = self._visitor.identity.id
        self._begin("a host", lambda: hosts.connect(identity, self._host, self._decide, self._joined))

    def _decide(self, found: IpAddress, here: bool) -> HostGrant | Refusal:
        self._own[found] = here
        return decide_address(self._wanted_now(), self._host, found, here=here)

    def _joined(self, grant: HostGrant, stream: Stream) -> Sink:
        if not self._is_awaited(stream):
            return self._splice
        found = next(address for address in self._own if str(address) == grant.endpoint.host)
        decided = self._decide(found, self._own[found])
        if isinstance(decided, Refusal):  # by rules that are new since the host was asked
            stream.abort()
            self._refuse(decided)
            return self._splice
        at = HostAt(self._host, found, self._own[found])
        self._visitor.direct.began(self.channel, self._reached._replace(target=at))
        self._join(stream, str(grant.endpoint), self._wanted_now().host_rule)
        return self._splice


def refusal_at(wanted: Wanted, at: HostAt) -> Refusal | None:
    """The refusal of a visit that is open, by what decides now."""
    host = decide_host(wanted)
    if isinstance(host, Refusal):
        return host
    if at.found is None:  # not connected yet: its addresses are still decided on
        return None
    decided = decide_address(wanted, at.host, at.found, here=at.here)
    return decided if isinstance(decided, Refusal) else None
