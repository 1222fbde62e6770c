"""Implements `console.state.ConsoleState` for the API: queries that are answered from memory, and a few actions."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ferry import __version__
from ferry.clock import Clock
from ferry.console.models import (
    AccessStatus,
    AuditStatus,
    BlockedAddress,
    ConfigStatus,
    ConnectionInfo,
    Counts,
    GatewayInfo,
    Listeners,
    MachineInfo,
    MachineList,
    NameInfo,
    PolicyStatus,
    PortInfo,
    RefusedKeyInfo,
    RefusedKeyList,
    ReloadedInfo,
    Status,
    StoreStatus,
    TunnelInfo,
    moment,
)
from ferry.console.state import AuditReading, NotReloaded
from ferry.errors import FerryError
from ferry.kinds import kind_of
from ferry.kinds.port import TCP
from ferry.names import Address, ConnectionId, Endpoint, IdentityId, Kind, TunnelId, given_name
from ferry.observe.events import EventRing
from ferry.observe.metrics import Metrics
from ferry.protocol.host_blocks import Held, machines_of
from ferry.registry.contract import NEVER, Registry
from ferry.report import Report
from ferry.ssh.client import Client
from ferry.ssh.server import SshServer
from ferry.ssh.tunnel import SshTunnel
from ferry.ssh.tunnels import Tunnels

from .fleet import Fleet
from .in_force import ConfigInForce
from .port_table import KnownMachines, PortTable, Up

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


@dataclass(slots=True)
class OperatorView:
    """Implements `ConsoleState` over the parts of one worker."""

    in_force: ConfigInForce
    ssh: SshServer
    served: Tunnels
    report: Report
    registry: Registry
    machines: KnownMachines
    events: EventRing
    counted: Metrics
    host_keys: Sequence[str]
    store_healthy: Callable[[], bool]
    policy_error: Callable[[], str]
    fleet: Fleet
    audit: AuditReading
    listening: Callable[[], dict[str, list[Endpoint]]]
    clock: Clock
    started: float
    draining: bool = False
    reloader: Callable[[], Awaitable[ReloadedInfo]] | None = None
    """Reads the configuration again, and raises FerryError; None before there is one."""

    def start_drain(self) -> None:
        """Show that the gateway drains."""
        self.draining = True

    @property
    def metrics(self) -> CollectorRegistry:
        return self.counted.registry

    def status(self) -> Status:
        now = self.clock.now()
        by_kind: dict[str, int] = {kind.value: 0 for kind in Kind}
        for tunnel in self.served:
            by_kind[tunnel.address.kind.value] += 1
        listening = {name: [str(e) for e in endpoints] for name, endpoints in self.listening().items()}
        ok = self.store_healthy()
        return Status(
            version=__version__,
            pid=os.getpid(),
            domain=self.in_force.config.domain,
            state=str(self.in_force.config.state.resolve()),
            started=moment(self.started),
            uptime=round(now - self.started, 1),
            draining=self.draining,
            listeners=Listeners(**{name: listening.get(name, []) for name in ("ssh", "http", "https", "admin")}),
            counts=Counts(
                connections=len(self.ssh),
                tunnels=by_kind,
                handshakes=len(self.ssh.admission),
                blocked=len(self.blocked()),
            ),
            store=StoreStatus(ok=ok, error="" if ok else "the last write to the database failed; the log says why"),
            policy=self.policy(),
            audit=AuditStatus(ok=not self.audit.problem, error=self.audit.problem),
            config=ConfigStatus(ok=not self.in_force.error, error=self.in_force.error),
            access=AccessStatus(ok=not (problem := self.ssh.settings.login.access.problem), error=problem),
            host_keys=list(self.host_keys),
        )

    def policy(self) -> PolicyStatus | None:
        """The policy in force; None without a policy file."""
        book = self.ssh.settings.forwards.book
        if book is None:
            return None
        return PolicyStatus(file=book.file, rules=len(book.rules), error=self.policy_error())

    async def reload(self) -> ReloadedInfo:
        if self.reloader is None or self.draining:
            raise NotReloaded(f"the gateway is {'stopping' if self.draining else 'starting'}")
        try:
            return await self.reloader()
        except FerryError as error:
            raise NotReloaded(str(error)) from None

    def tunnels(self) -> list[TunnelInfo]:
        return [self._tunnel_info(client, tunnel) for client in self.ssh for tunnel in client.forwards.values()]

    def connections(self) -> list[ConnectionInfo]:
        return [
            ConnectionInfo(
                id=client.id,
                identity=str(client.identity),
                peer=str(client.peer),
                client_version=client.client_version,
                since=moment(client.began),
                tunnels=[str(tunnel.address) for tunnel in client.forwards.values()],
                up=client.up,
                down=client.down,
                silent_seconds=round(client.connection.silent_for, 1),
            )
            for client in self.ssh
        ]

    async def names(self, identity: IdentityId | None) -> list[NameInfo]:
        reservations = await self.registry.reservations(identity)
        return [
            NameInfo(
                key=reservation.address.key,
                address=str(reservation.address),
                kind=reservation.address.kind.value,
                owner=reservation.owner,
                owner_name=reservation.owner_name,
                derived=reservation.derived,
                created=moment(reservation.created),
                last_used=None if reservation.last_used == NEVER else moment(reservation.last_used),
                label=reservation.label,
                used=reservation.used,
                live=await self.served.holders.at(reservation.address) is not None,
            )
            for reservation in reservations
        ]

    async def ports(self) -> list[PortInfo]:
        up = {
            tunnel.address.port: _up(client, tunnel)
            for client in self.ssh
            for tunnel in client.forwards.values()
            if kind_of(tunnel.address.kind).is_port
        }
        forwards = self.ssh.settings.forwards
        reservations, known = await self.registry.reservations(None), await self.machines.known()
        table = PortTable(reservations, forwards.port_lines, up, known, forwards.rules, self.clock.now(), forwards.book)
        return await asyncio.to_thread(table.rows)  # thousands of ports, each a question to the policy

    async def reachable(self) -> MachineList:
        forwards = self.ssh.settings.forwards
        ports = {TCP.address(row.port): given_name(row.holder) for row in reversed(await self.ports())}
        reserved = await self.registry.reservations(None)
        aliases = {one.address: given_name(one.owner_name) for one in reserved if one.address.name}
        up = {tunnel.address: tunnel.claim.identity.name for tunnel in self.served}
        held = (Held(address, name) for address, name in (aliases | ports | up).items())
        return MachineList(
            gateway=GatewayInfo(hostname=str(forwards.urls.domain), port=forwards.urls.ssh_port),
            machines=[
                MachineInfo(host=m.host, hostname=m.hostname, port=m.port, key=m.address.key, up=m.address in up)
                for m in machines_of(held, forwards.rules.may_be_sshd)
            ],
        )

    async def close_tunnel(self, tunnel: TunnelId, reason: str) -> bool:
        for candidate in self.served:
            if candidate.id == tunnel:
                self.served.take_away(candidate, reason)
                return True
        return False

    async def close_connection(self, connection: ConnectionId, reason: str) -> bool:
        client = self.ssh.get(connection)
        if client is None:
            return False
        client.tell(reason, event="closed")
        client.close(reason)
        return True

    def blocked(self) -> list[BlockedAddress]:
        found = self.ssh.admission.penalties.listed(self.clock.monotonic())
        return [BlockedAddress(address=b.source, seconds=round(b.seconds, 1), why=b.why.value) for b in found]

    def refused_keys(self) -> RefusedKeyList:
        access = self.in_force.config.access
        files = access.keys if access.mode == "keys" else []
        keys = [
            RefusedKeyInfo(
                fingerprint=key.fingerprint,
                line=key.line,
                host=key.host,
                user=key.users[-1],
                users=list(key.users),
                at=moment(key.at),
                shut=[each.reason for each in self.ssh.login.access.shut_lines_of(key.fingerprint)],
            )
            for key in self.ssh.refused_keys
        ]
        return RefusedKeyList(keys=keys, files=[str(path.resolve()) for path in files])

    def unblock(self, address: str) -> bool:
        lifted = self.ssh.admission.penalties.unblock(address)
        if lifted:
            self.report("address.unblocked", address=address)
        return lifted

    async def free(self, address: Address, owner: IdentityId) -> bool:
        names = {one.address: one.owner_name for one in await self.registry.reservations(owner)}
        freed = await self.registry.free(address, owner)
        if freed:
            self.report("name.freed", address=str(address), identity=names.get(address, owner))
        return freed

    def _tunnel_info(self, client: Client, tunnel: SshTunnel) -> TunnelInfo:
        urls, address = self.ssh.settings.forwards.urls, tunnel.address
        return TunnelInfo(
            id=tunnel.id,
            address=str(address),
            kind=address.kind.value,
            url=kind_of(address.kind).url(address, urls),
            identity=str(client.identity),
            connection=client.id,
            peer=str(client.peer),
            since=moment(tunnel.forward.created),
            up=tunnel.traffic.up,
            down=tunnel.traffic.down,
            visits=tunnel.traffic.visits,
            silent_seconds=round(tunnel.silent_for, 1),
            bound=[str(endpoint) for endpoint in tunnel.bound],
            instead=tunnel.instead,
        )


def _up(client: Client, tunnel: SshTunnel) -> Up:
    bound = tuple(f"[{one.host}]" if ":" in one.host else one.host for one in tunnel.bound)
    return Up(client.identity.id, str(client.identity), tunnel.forward.created, bound)
