"""The worker's route table: from an address to the tunnel that serves it. Only the event loop uses it, without locks.

Routing costs one look-up in a dict. An address that is not in the table may still be reserved (`Registry`): the edge asks
for that only to explain a miss.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ferry import kinds
from ferry.callbacks import call_each
from ferry.errors import Refusal
from ferry.kinds.base import Opening
from ferry.limits import HOSTS_SEEN
from ferry.names import Address, Endpoint, IdentityId, Kind, TunnelId
from ferry.policy.grants import Grant, Use
from ferry.streams import Sink, Stream, Tap
from ferry.visits import Traffic, Visit

_log = logging.getLogger("ferry.registry")


class Tunnel(Protocol):
    """One accepted remote forward of one client connection."""

    id: TunnelId
    address: Address
    owner: IdentityId
    traffic: Traffic
    tap: Tap | None

    @property
    def owner_name(self) -> str | None:
        """The name that the operator gave to its owner."""
        ...

    @property
    def holder(self) -> str:
        """Whose it is, for the operator."""
        ...

    @property
    def tls_upstream(self) -> bool:
        """The local service speaks TLS (`-R 443:...`). Not verified: it is the owner's own machine."""
        ...

    @property
    def host_header(self) -> bytes:
        """The Host that the local service gets over HTTP; empty: the visitor's."""
        ...

    @property
    def shown_address(self) -> str:
        """Its address as a `Visit` has it."""
        ...

    @property
    def kind(self) -> str:
        """The address's kind, likewise."""
        ...

    def dial(self, grant: Grant, originator: Endpoint, sink: Sink) -> Stream:
        """Open a stream to the local service. Returns at once; see `ferry.streams` for what follows.

        `originator` is what the client is told (RFC 4254 §7.2). Visitors are held here until the owner's words have
        been heard. Raises LocalProtocolError unless `grant` is for visiting this address of this owner.
        """
        ...

    def comes_from(self, origin: str) -> bool:
        """Whether its owner has a connection from `origin` (`ferry.limiters.origins`)."""
        ...

    def visited(self, visit: Visit) -> None:
        """Tell the owner and the log about a finished visit. Never blocks."""
        ...

    @property
    def watched(self) -> bool:
        """Whether `long_visit_began` is of use to anybody."""
        ...

    def long_visit_began(self, visit: Visit) -> None:
        """Tell the owner about a visit that has begun and may last: a WebSocket, an event stream. Never blocks."""
        ...

    def tell(self, line: str, **fields: object) -> None:
        """Show the owner one line, also when the tunnel has closed."""
        ...


class PortListener(Protocol):
    """An open TCP port."""

    @property
    def endpoints(self) -> Sequence[Endpoint]:
        """The addresses it listens on."""
        ...

    def close(self, *, cut: bool) -> None:
        """Stop listening; `cut` ends the visitors who are there too."""
        ...

    def __len__(self) -> int:
        """Visitors who are here now."""
        ...

    async def wait_empty(self) -> None:
        """Return when none is here."""
        ...


class Ports(Protocol):
    """Opens TCP ports and Unix sockets (`ferry.edge`), or refuses to."""

    async def listen(self, tunnel: Tunnel, grant: Grant, opening: Opening) -> PortListener | Refusal: ...

    def would_refuse(self, opening: Opening) -> Refusal | None:
        """The refusal that `listen` would return now, or None. It opens nothing."""
        ...


@dataclass(slots=True)
class Routes:
    """address → tunnel. `add` returns the tunnel that it replaced; `remove` ignores a tunnel that was replaced."""

    by_address: dict[Address, Tunnel] = field(default_factory=dict)
    hosts: dict[Kind, dict[str, Tunnel]] = field(
        default_factory=lambda: {kind: {} for kind, what in kinds.KINDS.items() if what.has_host}
    )
    """Tunnels of each kind that has hostnames, by lower-case hostname: the hot path's one look-up."""

    devices: dict[str, dict[int, Tunnel]] = field(default_factory=dict)
    """The ports of the gateway that owners with a name hold: by that name in lower case, and by the port."""

    on_gone: list[Callable[[Tunnel], None]] = field(default_factory=list)
    """Callbacks; each is called with a tunnel that no longer serves its address."""
    seen_hosts: dict[str, None] = field(default_factory=dict)
    """Hostnames that are reserved or were served lately, HOSTS_SEEN at most. The local CA may sign for them although no
    tunnel serves them now. The oldest is forgotten first."""

    def add(self, tunnel: Tunnel, grant: Grant) -> Tunnel | None:
        """Route its address to `tunnel`, which is not in the table yet. Raises LocalProtocolError unless `grant` is for
        listening there, for its owner."""
        grant.require(tunnel.address, tunnel.owner, Use.LISTEN)
        previous = self.by_address.get(tunnel.address)
        if previous is not None:
            self._leave_device(previous)
        self.by_address[tunnel.address] = tunnel
        if tunnel.owner_name and not tunnel.address.name:
            self.devices.setdefault(tunnel.owner_name.lower(), {})[tunnel.address.port] = tunnel
        if (by_host := self.hosts.get(tunnel.address.kind)) is not None:
            by_host[tunnel.address.name] = tunnel
            self.note_host(tunnel.address.name)
        if previous is not None:
            self._gone(previous)
        return previous

    def note_host(self, host: str) -> None:
        """Add `host` to `seen_hosts`, or make it the newest there."""
        self.seen_hosts.pop(host, None)
        self.seen_hosts[host] = None
        if len(self.seen_hosts) > HOSTS_SEEN:
            del self.seen_hosts[next(iter(self.seen_hosts))]

    def remove(self, tunnel: Tunnel) -> bool:
        """Remove `tunnel`, unless a newer one serves its address. True if it was in the table."""
        if self.by_address.get(tunnel.address) is not tunnel:
            return False
        del self.by_address[tunnel.address]
        self._leave_device(tunnel)
        if (by_host := self.hosts.get(tunnel.address.kind)) is not None:
            del by_host[tunnel.address.name]
        self._gone(tunnel)
        return True

    def _leave_device(self, tunnel: Tunnel) -> None:
        name = (tunnel.owner_name or "").lower()
        if not tunnel.address.name and (ports := self.devices.get(name)) is not None:
            ports.pop(tunnel.address.port, None)
            if not ports:
                del self.devices[name]

    def _gone(self, tunnel: Tunnel) -> None:
        call_each(_log, "a part of the gateway failed to let go of a tunnel", self.on_gone, tunnel)

    def get(self, address: Address) -> Tunnel | None:
        """The tunnel that serves `address` on this worker."""
        return self.by_address.get(address)
