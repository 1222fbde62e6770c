"""A gateway in the test's own process, with real server, edges and sockets. The test can look at its state."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

import asyncssh

from ferry.clock import Clock, SystemClock
from ferry.config.model import Config
from ferry.edge.bridge import Bridge
from ferry.edge.http.connection import VisitorConnection
from ferry.edge.http.edge import HttpEdge
from ferry.edge.http.exchange import Exchange
from ferry.edge.http.shared import Bounds
from ferry.edge.http.upstream import Upstream
from ferry.edge.tls.local_ca import LocalCa
from ferry.gateway.kept import Kept, KeptAudit, KeptConnections
from ferry.gateway.worker import Worker, build_worker
from ferry.kinds.rules import ForwardRules
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.penalties import Penalties
from ferry.names import CertificateName, ConnectionId, Fingerprint, Identity, IdentityId, TunnelId, WorkerId
from ferry.observe.events import EventRing
from ferry.observe.metrics import Metrics
from ferry.registry.contract import Registry
from ferry.registry.routes import Routes
from ferry.registry.visits_in_force import VisitsInForce
from ferry.ssh.admission import Admission
from ferry.ssh.claims import PendingRelease
from ferry.ssh.client import Client
from ferry.ssh.server import SshServer
from ferry.ssh.settings import SshSettings
from ferry.ssh.tunnel import SshTunnel
from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.connection import HardenedConnection
from ferry.store.machines import Held, Known, Replaced
from gateway_process import DOMAIN, PortBlock
from memory_registry import MemoryRegistry
from no_audit import NoAudit
from raw_client import RawClient
from reported import said
from turns import until
from whole_gateway import opened

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KEPT_FOR_VISITORS = (VisitorConnection, Exchange, Upstream, Bridge, TunnelChannel)
SECONDS = 20
CA = "ca"
"""The folder of the local CA, in the state folder."""


class _Identities:
    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity:
        del algorithm, now
        return Identity(IdentityId(fingerprint), name, fingerprint)

    async def identity_for_certificate(
        self, certificate: CertificateName, fingerprint: Fingerprint, *, now: float
    ) -> Identity:
        del now
        owner = IdentityId(f"{certificate.ca} {certificate.key_id}")
        return Identity(owner, None, fingerprint, certificate=certificate)

    async def prune(self, _before: float) -> int:
        return 0


class NoRows:
    def connection_started(self, *_: object) -> None:
        """Records nothing."""

    connection_ended = host_told = connection_started

    async def prune(self, _before: float) -> int:
        return 0


class _NoMachines:
    async def known(self) -> Known:
        return Known({}, {}, {})

    async def enrol(self, *_: object) -> dict[str, int]:
        return {}

    async def replace(self, *_: object) -> Replaced:
        return Replaced(None, [])

    async def forget(self, *_: object, **__: object) -> list[Held]:
        return []


class _Memory:
    """Replaces the database."""

    healthy = True


@dataclass
class Inside:
    """The parts of the gateway. Tests reach them through this class only."""

    worker: Worker
    ports: PortBlock
    """For forwards of ports."""
    reports: list[tuple[str, dict[str, Any]]]
    failing: set[str]
    """Events whose report raises."""
    passable: set[TunnelId]
    """Tunnels whose visitors no longer wait for the owner's words."""

    @property
    def _ssh(self) -> SshServer:
        return self.worker.ssh

    @property
    def edge(self) -> HttpEdge:
        return self.worker.http

    @property
    def limiter(self) -> ConnectionLimiter:
        return self.worker.limiter

    @property
    def routes(self) -> Routes:
        return self.worker.routes

    @property
    def ssh_port(self) -> int:
        return self.ports.ssh

    @property
    def http_port(self) -> int:
        return self.ports.http

    @property
    def clients(self) -> list[Client]:
        return list(self._ssh)

    def client_of(self, connection: ConnectionId) -> Client | None:
        """The connected client of `connection`."""
        return self._ssh.get(connection)

    @property
    def tunnels(self) -> list[SshTunnel]:
        return [tunnel for client in self._ssh for tunnel in client.forwards.values()]

    @property
    def admission(self) -> Admission:
        return self._ssh.admission

    @property
    def penalties(self) -> Penalties:
        return self._ssh.admission.penalties

    @property
    def registry(self) -> Registry:
        return self.worker.kept.registry

    @property
    def clock(self) -> Clock:
        return self.worker.clock

    @property
    def rules(self) -> ForwardRules:
        return self.worker.settings.forwards.rules

    @property
    def visits(self) -> VisitsInForce:
        """The policy of visits."""
        return self.worker.visits

    @property
    def pending_releases(self) -> deque[PendingRelease]:
        """Addresses without a tunnel whose leases the database still has."""
        return self.worker.tunnels.claims.pending

    def change(self, **changes: Any) -> None:
        """Change settings, by name, for present and later clients."""
        settings = self.worker.settings
        rules = _changed(settings.forwards.rules, changes)
        forwards = replace(_changed(settings.forwards, changes), rules=rules)
        changed = SshSettings(
            login=_changed(settings.login, changes),
            forwards=forwards,
            notices=replace(_changed(settings.notices, changes), rules=rules, urls=forwards.urls),
            request_log=changes.pop("request_log", settings.request_log),
            end_refused=changes.pop("end_refused", settings.end_refused),
            bounds=_changed(settings.bounds, changes),
            sshd=changes.pop("sshd", settings.sshd),
        )
        assert not changes, "there is no such setting"
        settings.use(changed)

    async def tick(self) -> None:
        """Run the action of each second that does not wait."""
        await self._ssh.tick()

    async def write_late(self) -> None:
        """Run the action of each second that waits for the database."""
        await self.worker.tunnels.claims.write_late()

    def deciding(self, identity: IdentityId) -> AbstractAsyncContextManager[None]:
        """While the context lasts, forwards of the identity wait: none is decided, claimed or released."""
        return self.worker.tunnels.holders.claiming(identity)

    def close_forward(self, tunnel: SshTunnel, reason: str) -> None:
        self.worker.tunnels.close(tunnel, reason)

    def take_away(self, tunnel: SshTunnel, reason: str) -> None:
        """Close the tunnel, as the operator does."""
        self.worker.tunnels.take_away(tunnel, reason)

    def take(self, sock: socket.socket) -> None:
        """Handle `sock` like an accepted socket."""
        self._ssh.take(sock)

    def start_drain(self) -> None:
        self._ssh.start_drain()

    async def drain(self, seconds: float) -> None:
        await self._ssh.drain(seconds)

    async def stop(self) -> None:
        """Disconnect all clients."""
        await self._ssh.stop()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The fields of every report of `event`."""
        return said(self.reports, event)

    async def let_through(self) -> SshTunnel:
        """Wait until no tunnel is held any more; return the first. No event reports that."""
        await until(lambda: {tunnel.id for tunnel in self.tunnels} <= self.passable, every=0.001)
        return self.tunnels[0]

    def kept(self) -> Counter[str]:
        """The number of each resource that a visitor could leave behind, with the process's sockets."""
        gc.collect()
        count = Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, KEPT_FOR_VISITORS))
        count["asyncio tasks"] = len(asyncio.all_tasks())
        count["file descriptors"] = sum(1 for _ in Path("/proc/self/fd").iterdir())
        count["visitors of the edge"] = len(self.edge.connections)
        count["addresses counted"] = len(self.limiter)
        for tunnel in self.tunnels:
            count["streams"] += tunnel.streams
        for backend in self.edge.backends.made.values():
            count["places"] += backend.places.in_use
            count["idle streams"] += backend.idle_streams
        return +count

    async def back_to(self, before: Counter[str]) -> None:
        """Wait until the resources are those of `before`. Raises AssertionError with the difference."""
        try:
            await until(lambda: not self.kept() - before, every=0.05)
        except TimeoutError:
            raise AssertionError(f"still there: {self.kept() - before}") from None

    @asynccontextmanager
    async def client(self, key: Path, **options: Any) -> AsyncIterator[RawClient]:
        """A raw client that has logged in."""
        reasons: list[str] = []

        class Told(asyncssh.SSHClient):
            def connection_lost(self, exc: Exception | None) -> None:
                reasons.append(str(exc or ""))

        async with asyncio.timeout(SECONDS / 2):
            connection = await asyncssh.connect(
                "127.0.0.1", self.ssh_port, username=options.pop("username", "dev"), client_keys=[str(key)],
                known_hosts=None, config=None, agent_path=None, client_factory=Told, **options,
            )  # fmt: skip
        try:
            yield RawClient(connection, reasons)
        finally:
            connection.abort()
            await connection.wait_closed()


T = TypeVar("T", bound="DataclassInstance")


def _changed(settings: T, changes: dict[str, Any]) -> T:
    """`settings` with the `changes` to their fields. Removes these from `changes`."""
    names = changes.keys() & {field.name for field in fields(settings)}
    return replace(settings, **{name: changes.pop(name) for name in names})


@cache
def _local_ca() -> dict[str, bytes]:
    """The files of one, made once: a key takes time, and so does a disk that is waited for."""
    with TemporaryDirectory(prefix="ferry-inside-") as folder:
        LocalCa.open(Path(folder), DOMAIN, clock=SystemClock())
        return {file.name: file.read_bytes() for file in (Path(folder) / CA).iterdir()}


@contextmanager
def _state_folder() -> Iterator[Path]:
    """A state folder with the files that the worker reads. All other state is in memory."""
    with TemporaryDirectory(prefix="ferry-inside-") as folder:
        (ca := Path(folder) / CA).mkdir(mode=0o700)
        for name, content in _local_ca().items():
            (ca / name).write_bytes(content)
            (ca / name).chmod(0o600)
        yield Path(folder)


@contextmanager
def _passable_tunnels() -> Iterator[set[TunnelId]]:
    """The tunnels that have been let through, while the context lasts."""
    passable: set[TunnelId] = set()
    let_through = SshTunnel.let_through

    def noted(tunnel: SshTunnel) -> None:
        let_through(tunnel)
        passable.add(tunnel.id)

    with patch.object(SshTunnel, "let_through", noted):
        yield passable


def _config(
    state: Path, ports: PortBlock, *, limits: dict[str, object], prefer_gcm: bool, login_grace: float
) -> Config:
    """As shipped, but for what stands in the way of a test whose clients and visitors are all on loopback: they are
    counted by address, but never blocked, and they are told what they ask for, but nothing else."""
    return Config.model_validate(
        {
            "domain": DOMAIN,
            "state": state,
            "ssh": {
                "listen": f"127.0.0.1:{ports.ssh}", "advertised_port": 2222, "banner": False, "penalties": False,
                "handshakes": 200, "handshakes_per_network": 200,
                "login_grace": login_grace, "prefer_aes_gcm": prefer_gcm,
            },
            "http": {"listen": f"127.0.0.1:{ports.http}", "advertised_port": 8080},
            "https": {"listen": [], "advertised_port": 8443},
            "tcp": {
                "ranges": [{"first": ports.loopback[0], "last": ports.loopback[-1], "listen": "loopback"}],
                "allocate_from": 0,
                "public_addresses": ["127.0.0.1"],
            },
            "limits": {"global_requests_per_second": 10_000, "connections_per_visitor": 10_000, "exempt": []} | limits,
            "session": {"request_log": False},
        }
    )  # fmt: skip


@asynccontextmanager
async def inside_gateway(
    *,
    bounds: Bounds | None = None,
    kind: type[HardenedConnection] = HardenedConnection,
    registry: Registry | None = None,
    connections: KeptConnections | None = None,
    audit: KeptAudit | None = None,
    limits: dict[str, object] | None = None,
    clock: Clock | None = None,
    penalties: Penalties | None = None,
    prefer_gcm: bool = True,
    login_grace: float = 20,
) -> AsyncIterator[Inside]:
    """A serving gateway, with SSH connections of `kind`. `limits` is the table of the configuration."""
    ports = PortBlock.take()
    clock = clock or SystemClock()
    reports: list[tuple[str, dict[str, Any]]] = []
    failing: set[str] = set()

    def report(event: str, /, **fields: object) -> None:
        if event in failing:
            raise RuntimeError(f"the report of {event}")
        reports.append((event, fields))

    kept = Kept(
        worker=WorkerId("inside"),
        store=_Memory(),
        registry=MemoryRegistry() if registry is None else registry,
        identities=_Identities(),
        connections=NoRows() if connections is None else connections,
        machines=_NoMachines(),
        audit=audit or NoAudit(),
        secret=b"secret",
        host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
    )
    with ports.guard, _state_folder() as state, _passable_tunnels() as passable:
        config = _config(state, ports, limits=limits or {}, prefer_gcm=prefer_gcm, login_grace=login_grace)
        async with build_worker(
            config,
            kept,
            clock=clock,
            report=report,
            events=EventRing(),
            metrics=Metrics(version="", started=0),
            http_bounds=bounds,
            make_connection=kind,
        ) as worker:
            if penalties is not None:
                worker.ssh.admission.penalties = penalties
            async with opened(worker):
                yield Inside(worker, ports, reports, failing, passable)
