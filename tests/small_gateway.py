"""A gateway as small as `ConsoleState` allows, for tests of the API and of the commands that use it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from ferry.clock import Clock, SystemClock
from ferry.console.models import (
    AccessStatus,
    BlockedAddress,
    ConfigStatus,
    ConnectionInfo,
    Counts,
    GatewayInfo,
    Listeners,
    MachineList,
    NameInfo,
    PortInfo,
    RefusedKeyList,
    ReloadedInfo,
    Status,
    StoreStatus,
    TunnelInfo,
)
from ferry.console.state import AuditReading, FleetState, NotReloaded
from ferry.names import Address, ConnectionId, IdentityId, TunnelId
from ferry.observe.events import EventRing
from ferry.observe.metrics import Metrics
from ferry.registry.contract import StoreUnavailable
from no_audit import NoAudit

STARTED = 1_700_000_000.0
KEY = "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"


def tunnel(
    tunnel_id: str, kind: str, address: str, url: str | None, *, connection: str = "s1", **more: object
) -> TunnelInfo:
    fields: dict[str, object] = {"identity": f"web-1 ({KEY})", "peer": "192.0.2.7:50122", "since": STARTED}
    fields |= {"up": 1_500_000, "down": 20, "visits": 3} | more
    return TunnelInfo.model_validate(
        {"id": tunnel_id, "kind": kind, "address": address, "url": url, "connection": connection, **fields}
    )


def connection(connection_id: str, tunnels: list[str]) -> ConnectionInfo:
    return ConnectionInfo(
        id=connection_id, identity=KEY, peer="192.0.2.7:50122", client_version="SSH-2.0-OpenSSH_9.2\x1b[2J", since=STARTED,
        tunnels=tunnels, up=1, down=2,
    )  # fmt: skip


def name(key: str, owner: str = "i1", *, live: bool = False, used: bool = True) -> NameInfo:
    address = Address.from_key(key)
    return NameInfo(
        key=key, address=str(address), kind=address.kind.value, owner=owner, owner_name=f"web-1 ({KEY})",
        derived=False, created=STARTED, last_used=STARTED, used=used, live=live,
    )  # fmt: skip


def _tunnels() -> list[TunnelInfo]:
    return [
        tunnel("t1aa", "http", "blog.example.com", "https://blog.example.com"),
        tunnel("t2bb", "tcp", "port 30042", "tcp://example.com:30042", connection="s2"),
        tunnel("t3cc", "alias", "laptop:22", None),
        tunnel("t4dd", "alias", "laptop:80", None),
    ]


@dataclass
class SmallGateway:
    """Has the given lists; a close removes an item from them."""

    open_tunnels: list[TunnelInfo] = field(default_factory=_tunnels)
    open_connections: list[ConnectionInfo] = field(
        default_factory=lambda: [connection("s1", ["blog.example.com", "laptop:22"]), connection("s2", ["port 30042"])]
    )
    reserved: list[NameInfo] = field(
        default_factory=lambda: [name("http:blog.example.com", live=True), name("tcp::30042", "i2")]
    )
    port_table: list[PortInfo] = field(default_factory=list)
    offenders: list[BlockedAddress] = field(default_factory=list)
    machines: MachineList = field(
        default_factory=lambda: MachineList(gateway=GatewayInfo(hostname="example.com", port=2222), machines=[])
    )
    draining: bool = False
    store_error: str = ""
    access_error: str = ""
    config_error: str = ""
    events: EventRing = field(default_factory=EventRing)
    counted: Metrics = field(default_factory=lambda: Metrics(version="0.1.0", started=STARTED))
    told: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)
    audit: AuditReading = field(default_factory=NoAudit)
    acts: list[dict[str, object]] = field(default_factory=list)

    def report(self, event: str, /, **fields: object) -> None:
        assert event == "operator.acted"
        self.acts.append(fields)

    @property
    def metrics(self) -> CollectorRegistry:
        return self.counted.registry

    def status(self) -> Status:
        return Status(
            version="0.1.0", pid=4711, domain="example.com", state="/var/lib/ferry", started=STARTED, uptime=93784.5,
            draining=self.draining,
            listeners=Listeners(ssh=["127.0.0.1:2222", "[::1]:2222"], http=["127.0.0.1:8080"], https=[], admin=[]),
            counts=Counts(connections=len(self.open_connections), tunnels=dict(self._kinds()), blocked=len(self.offenders)),
            store=StoreStatus(ok=not self.store_error, error=self.store_error),
            access=AccessStatus(ok=not self.access_error, error=self.access_error),
            config=ConfigStatus(ok=not self.config_error, error=self.config_error),
            host_keys=[f"ED25519 {KEY}"],
        )  # fmt: skip

    async def reload(self) -> ReloadedInfo:
        if self.config_error:
            raise NotReloaded(self.config_error)
        return ReloadedInfo(
            changed=["drain"], needs_restart=["log.format"], policy=None, mistakes=["/k/ann, line 2: no"], more_mistakes=7,
            notes=["a note"],
        )  # fmt: skip

    def _kinds(self) -> Iterator[tuple[str, int]]:
        for kind in ("http", "tls", "tcp", "alias"):
            yield kind, sum(t.kind == kind for t in self.open_tunnels)

    def tunnels(self) -> list[TunnelInfo]:
        return list(self.open_tunnels)

    def connections(self) -> list[ConnectionInfo]:
        return list(self.open_connections)

    @property
    def fleet(self) -> FleetState:
        raise StoreUnavailable("there is no store here")

    async def names(self, identity: IdentityId | None) -> list[NameInfo]:
        if self.store_error:
            raise StoreUnavailable(self.store_error)
        return [n for n in self.reserved if identity in (None, n.owner)]

    async def ports(self) -> list[PortInfo]:
        if self.store_error:
            raise StoreUnavailable(self.store_error)
        return list(self.port_table)

    async def reachable(self) -> MachineList:
        return self.machines

    async def close_tunnel(self, tunnel: TunnelId, reason: str) -> bool:
        before = len(self.open_tunnels)
        self.open_tunnels = [t for t in self.open_tunnels if t.id != tunnel]
        self.told.append(reason)
        return len(self.open_tunnels) < before

    async def close_connection(self, connection: ConnectionId, reason: str) -> bool:
        before = len(self.open_connections)
        self.open_connections = [s for s in self.open_connections if s.id != connection]
        self.told.append(reason)
        return len(self.open_connections) < before

    def blocked(self) -> list[BlockedAddress]:
        return list(self.offenders)

    def refused_keys(self) -> RefusedKeyList:
        return RefusedKeyList(keys=[], files=[])

    def unblock(self, address: str) -> bool:
        before = len(self.offenders)
        self.offenders = [one for one in self.offenders if one.address != address]
        return len(self.offenders) < before

    async def free(self, address: Address, owner: IdentityId) -> bool:
        before = len(self.reserved)
        self.reserved = [n for n in self.reserved if (n.key, n.owner) != (address.key, owner)]
        return len(self.reserved) < before
