"""What one SSH connection needs from the rest of the gateway, as the narrow interfaces that this room uses.

`ferry.gateway.worker` fills it. A reload makes a new `Services`, and every connection has that one from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ferry.clock import Clock
from ferry.hostnames import Urls
from ferry.kinds.rules import ForwardRules, Web
from ferry.names import ConnectionId, Identity, WorkerId
from ferry.registry.contract import Registry
from ferry.registry.routes import Ports, Routes
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import Report

from .access import Found, KeyAccess
from .login import People
from .wire.connection import ConnectionBounds


class ConnectionLog(Protocol):
    """One row per SSH connection (`ferry.store`). Neither call waits for the database."""

    def connection_started(
        self, connection: ConnectionId, identity: Identity, peer: str, client_version: str, now: float
    ) -> None: ...

    def connection_ended(self, connection: ConnectionId, reason: str, up: int, down: int, now: float) -> None: ...


class Access(KeyAccess, Protocol):
    """As `KeyAccess`, and looked at again while the gateway runs."""

    def read(self) -> Found | None:
        """Look whether the keys have changed. Blocks on the disk, and so runs in a thread, one call at a time."""
        ...

    def use(self, found: Found | None) -> None:
        """Change to what `read` has found."""
        ...


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one log-in or identity."""

    connections_per_identity: int
    auth_tries: int
    key_grace: float


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a connection may use."""

    worker: WorkerId
    clock: Clock
    report: Report
    registry: Registry
    routes: Routes
    visits: VisitsInForce
    people: People
    connections: ConnectionLog
    access: Access
    ports: Ports
    rules: ForwardRules
    web: Web
    urls: Urls
    limits: ClientLimits
    bounds: ConnectionBounds
    secret: bytes
    """For names and ports of our own choice."""
    public_is_loopback: bool
    """Ports of public ranges listen on loopback addresses only."""
    banner: bool
    request_log: bool
