"""The interface of the gateway for the API. `gateway.operator_view` implements it; tests have a small one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from ferry.clock import Clock
from ferry.errors import FerryError
from ferry.names import Address, ConnectionId, IdentityId, TunnelId
from ferry.observe.events import EventRing
from ferry.protocol.audit import Entry, Link, Wanted
from ferry.report import Report

from .models import (
    BlockedAddress,
    ConnectionInfo,
    EnrolledInfo,
    EnrolRequest,
    ForgetRequest,
    ForgottenInfo,
    KeyInfo,
    KeyRules,
    MachineList,
    NameInfo,
    PortInfo,
    RefusedKeyList,
    ReloadedInfo,
    ReplacedInfo,
    ReplaceRequest,
    RulesQuestion,
    Status,
    TunnelInfo,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class NotReloaded(FerryError):
    """The configuration was not read again, or has a mistake. Nothing has changed."""


class FleetState(Protocol):
    """The keys of a fleet. All methods raise StoreUnavailable."""

    async def keys(self) -> list[KeyInfo]:
        """All keys that are known."""
        ...

    async def enrol(self, wanted: EnrolRequest, /) -> EnrolledInfo:
        """Enter a key, and allocate its ports. Raises InvalidInput."""
        ...

    async def rules(self, asked: RulesQuestion, /) -> KeyRules | None:
        """How a key stands with the operator's policy; None without one."""
        ...

    async def replace(self, wanted: ReplaceRequest, /) -> ReplacedInfo:
        """Give all that a key has to a new one. Raises InvalidInput."""
        ...

    async def forget(self, wanted: ForgetRequest, /) -> ForgottenInfo:
        """Forget keys."""
        ...


class AuditReading(Protocol):
    """The audit log, for readers. What reads raises StoreUnavailable."""

    @property
    def problem(self) -> str:
        """Why records cannot be written now; empty if they can."""
        ...

    async def head(self) -> Link:
        """The place of the last record."""
        ...

    async def last(self, wanted: Wanted, most: int) -> list[Entry]:
        """The last `most` records that are wanted, the oldest first."""
        ...

    def follow(self, wanted: Wanted, after: int) -> AsyncIterator[Entry]:
        """The records behind a number that are wanted, also those that come later, until `end_followers`."""
        ...

    def end_followers(self) -> None:
        """End all that follow."""
        ...


class ConsoleState(Protocol):
    """A running gateway. Call it on its event loop. Texts are not escaped: the command line escapes them."""

    @property
    def clock(self) -> Clock:
        """The clock for `Date`."""
        ...

    @property
    def events(self) -> EventRing:
        """The events that `/api/v1/events` serves."""
        ...

    @property
    def audit(self) -> AuditReading:
        """The audit log that `/api/v1/audit` serves."""
        ...

    @property
    def report(self) -> Report:
        """The reporter of what the operator does."""
        ...

    @property
    def metrics(self) -> CollectorRegistry:
        """The registry that `/metrics` serves."""
        ...

    @property
    def fleet(self) -> FleetState:
        """The keys of a fleet."""
        ...

    def status(self) -> Status:
        """The gateway as a whole. Never touches the database."""
        ...

    async def reload(self) -> ReloadedInfo:
        """Read the configuration again, with all files that it names. Raises NotReloaded: then nothing has changed."""
        ...

    def tunnels(self) -> list[TunnelInfo]:
        """Every open tunnel."""
        ...

    def connections(self) -> list[ConnectionInfo]:
        """Every SSH connection that is logged in."""
        ...

    async def names(self, identity: IdentityId | None) -> list[NameInfo]:
        """Reservations of one identity, or all. Raises StoreUnavailable."""
        ...

    async def ports(self) -> list[PortInfo]:
        """The port table. Raises StoreUnavailable."""
        ...

    async def reachable(self) -> MachineList:
        """The machines that people may reach through the gateway. Raises StoreUnavailable."""
        ...

    async def close_tunnel(self, tunnel: TunnelId, reason: str) -> bool:
        """Close one tunnel and tell its owner `reason`; its connection ends if it has no other. False if it is gone."""
        ...

    async def close_connection(self, connection: ConnectionId, reason: str) -> bool:
        """Close one SSH connection with all its tunnels and tell its owner `reason`. False if it is gone."""
        ...

    def blocked(self) -> list[BlockedAddress]:
        """Addresses that are blocked for failed logins, the longest first."""
        ...

    def refused_keys(self) -> RefusedKeyList:
        """The keys that were not let in lately."""
        ...

    def unblock(self, address: str) -> bool:
        """Forget the offences of `address` (as in `blocked`, or any address in it). False if it is not blocked."""
        ...

    async def free(self, address: Address, owner: IdentityId) -> bool:
        """Drop `owner`'s reservation at once. False if it is not theirs (any more). Raises StoreUnavailable."""
        ...
