"""A gateway inside the test's own process: real front, edges and sockets, and a test that may look at what they keep."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncssh

import ferry.ssh.front
from ferry.clock import Clock, SystemClock
from ferry.config.model import Config
from ferry.edge.acceptor import Acceptor
from ferry.edge.bridge import Bridge
from ferry.edge.http.connection import VisitorConnection
from ferry.edge.http.edge import HttpEdge
from ferry.edge.http.exchange import Exchange
from ferry.edge.http.shared import Bounds
from ferry.edge.http.upstream import Upstream
from ferry.edge.tcp import TcpEdge
from ferry.kinds.rules import ForwardRules
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.flapping import FlapGuard
from ferry.limiters.handshakes import HandshakeGate
from ferry.limiters.penalties import Penalties
from ferry.limiters.sources import ExemptNetworks
from ferry.listening import TcpPorts
from ferry.names import Fingerprint, Identity, IdentityId, SessionId, WorkerId
from ferry.policy.grants import Grant
from ferry.registry.contract import Registry
from ferry.registry.memory import MemoryRegistry
from ferry.registry.routes import Routes, Tunnel
from ferry.ssh.access import Anyone
from ferry.ssh.admission import Admission
from ferry.ssh.client import Client
from ferry.ssh.forwards import Owed, close_forward, give_back_late, write_lease
from ferry.ssh.front import SshFront, connection_options
from ferry.ssh.services import Services
from ferry.ssh.tunnel import SshTunnel
from ferry.ssh.wire.channel import TunnelChannel
from ferry.ssh.wire.connection import HardenedConnection
from ferry.wiring import client_limits_of, connection_bounds_of, public_is_loopback, rules_of, web_of
from gateway_process import PortBlock
from raw_client import RawClient

KEPT_FOR_VISITORS = (VisitorConnection, Exchange, Upstream, Bridge, TunnelChannel)
SECONDS = 20


class _People:
    async def identity_for_key(
        self, fingerprint: Fingerprint, algorithm: str, name: str | None, *, now: float
    ) -> Identity:
        del algorithm, now
        return Identity(IdentityId(fingerprint), name, fingerprint)


class _NoRows:
    def session_started(self, *_: object) -> None:
        """Not what is tested."""

    session_ended = session_started


def visit_grant(tunnel: Tunnel) -> Grant:
    """What somebody from outside reaches that tunnel with."""
    return tunnel.visitor_grant


@dataclass
class Inside:
    """What is inside: tests ask this for it, so that what it consists of is said here alone."""

    _front: SshFront
    edge: HttpEdge
    limiter: ConnectionLimiter
    routes: Routes
    ssh_port: int
    http_port: int
    ports: PortBlock
    """For forwards of ports."""
    reports: list[tuple[str, dict[str, Any]]]

    @property
    def clients(self) -> list[Client]:
        return list(self._front)

    def client_of(self, session: SessionId) -> Client | None:
        """Who has logged in, and is there, as that session."""
        return self._front.get(session)

    @property
    def tunnels(self) -> list[SshTunnel]:
        return [tunnel for client in self._front for tunnel in client.forwards.values()]

    @property
    def admission(self) -> Admission:
        return self._front.admission

    @property
    def penalties(self) -> Penalties:
        return self._front.admission.penalties

    @property
    def registry(self) -> Registry:
        return self._front.services.registry

    @property
    def clock(self) -> Clock:
        return self._front.services.clock

    @property
    def rules(self) -> ForwardRules:
        return self._front.services.rules

    @property
    def flaps(self) -> FlapGuard:
        return self._front.services.flaps

    @property
    def pending_releases(self) -> deque[Owed]:
        """Addresses that nobody serves any more, and that the database still has as served."""
        return self._front.owed

    def change(self, **changes: Any) -> None:
        """Parts, rules of forwards and bounds of clients by their names, for clients who come and who are there."""
        services = self._front.services
        for group in ("rules", "limits"):
            held = getattr(services, group)
            names = changes.keys() & {field.name for field in fields(held)}
            changes[group] = replace(held, **{name: changes.pop(name) for name in names})
        self._front.use(replace(services, **changes))

    async def tick(self) -> None:
        """What is done once a second, and waits for nothing."""
        await self._front.tick()

    async def write_late(self) -> None:
        """What is done once a second, and waits for the database."""
        await self._front.write_late()

    async def release_late(self) -> None:
        """The last part of `write_late`: what is pending alone."""
        await give_back_late(self._front)

    async def write_lease(self, tunnel: SshTunnel) -> bool:
        """The part of `write_late` that is about this tunnel: False where nothing can be written."""
        return await write_lease(tunnel)

    def deciding(self, identity: IdentityId) -> AbstractAsyncContextManager[None]:
        """While it lasts no forward of the identity is decided, claimed or given back: whoever wants to waits."""
        return self._front.locks(identity)

    def close_forward(self, tunnel: SshTunnel, reason: str) -> None:
        close_forward(tunnel, reason)

    def take_away(self, tunnel: SshTunnel, reason: str) -> None:
        """As the operator does."""
        self._front.close_tunnel(tunnel, reason)

    def take(self, sock: socket.socket) -> None:
        """As if `sock` had been accepted."""
        self._front.take(sock)

    def start_drain(self) -> None:
        self._front.start_drain()

    async def drain(self, seconds: float) -> None:
        await self._front.drain(seconds)

    def said(self, event: str) -> list[dict[str, Any]]:
        """The fields of every report of `event`."""
        return [fields for name, fields in self.reports if name == event]

    async def let_through(self) -> SshTunnel:
        """The first tunnel, once it is held no longer: nobody announces that."""
        async with asyncio.timeout(SECONDS):
            while self.tunnels[0].is_held:
                await asyncio.sleep(0.001)
        return self.tunnels[0]

    def kept(self) -> Counter[str]:
        """How many there are of everything that a visitor could leave behind, this process's own sockets included."""
        gc.collect()
        count = Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, KEPT_FOR_VISITORS))
        count["asyncio tasks"] = len(asyncio.all_tasks())
        count["file descriptors"] = sum(1 for _ in Path("/proc/self/fd").iterdir())
        count["visitors of the edge"] = self.edge.visitors
        count["addresses counted"] = len(self.limiter)
        count["channels in tables"] = sum(len(client.connection._channels) for client in self._front)
        for tunnel in self.tunnels:
            count["streams"] += tunnel.streams
            count["openings"] += len(tunnel._opening)
        for backend in self.edge.backends.values():
            count["places"] += backend.places.taken
            count["idle streams"] += backend.idle_streams
        return +count

    async def back_to(self, before: Counter[str]) -> None:
        """Until nothing is kept that was not there `before`; AssertionError with what is."""
        try:
            async with asyncio.timeout(SECONDS):
                while self.kept() - before:
                    await asyncio.sleep(0.05)
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


@asynccontextmanager
async def inside_gateway(
    *,
    bounds: Bounds | None = None,
    kind: type[HardenedConnection] = HardenedConnection,
    registry: Registry | None = None,
    limits: dict[str, object] | None = None,
    clock: Clock | None = None,
    penalties: Penalties | None = None,
    prefer_gcm: bool = True,
    login_grace: float = 20,
) -> AsyncIterator[Inside]:
    """One that serves, with SSH connections of `kind`. `limits` is the configuration's table."""
    ports = PortBlock.take()
    config = Config.model_validate(
        {
            "domain": "localhost",
            "limits": {"global_requests_per_second": 10_000} | (limits or {}),
            "tcp": {
                "ranges": [{"first": ports.loopback[0], "last": ports.loopback[-1], "listen": "loopback"}],
                "allocate_from": 0,
            },
        }
    )
    clock, routes = clock or SystemClock(), Routes()
    reports: list[tuple[str, dict[str, Any]]] = []

    def report(event: str, /, **fields: object) -> None:
        reports.append((event, fields))

    async def known(_host: str) -> bool:
        return False

    limiter = ConnectionLimiter(10_000, ExemptNetworks([]))
    edge = HttpEdge(
        routes,
        domain="localhost",
        clock=clock,
        report=report,
        known=known,
        secret=b"secret",
        bounds=bounds,
        limiter=limiter,
    )
    services = Services(
        worker=WorkerId("inside"),
        clock=clock,
        report=report,
        registry=MemoryRegistry() if registry is None else registry,
        routes=routes,
        people=_People(),
        sessions=_NoRows(),
        access=Anyone(),
        ports=TcpPorts(
            TcpEdge(report=report, clock=clock, open_proxy=lambda _tunnel: None, limiter=limiter), ["127.0.0.1"]
        ),
        rules=rules_of(config),
        web=web_of(config),
        urls=config.urls(lambda _host: False),
        limits=client_limits_of(config),
        bounds=connection_bounds_of(config),
        flaps=FlapGuard(),
        secret=b"secret",
        public_is_loopback=public_is_loopback(config),
        banner=False,
        request_log=False,
    )
    asyncssh_options = await connection_options(
        [asyncssh.generate_private_key("ssh-ed25519")],
        login_grace=login_grace,
        keepalive_interval=15,
        keepalive_count=3,
    )
    exempt = ExemptNetworks()
    front = SshFront(
        services,
        HandshakeGate(200, 200, exempt),
        Penalties(exempt) if penalties is None else penalties,
        asyncssh_options,
        prefer_gcm=prefer_gcm,
    )
    loop = asyncio.get_running_loop()
    ssh = socket.create_server(("127.0.0.1", 0))
    ssh.setblocking(False)
    acceptor = Acceptor([ssh], front.take, report=report)
    ssh_port = ssh.getsockname()[1]
    server = await loop.create_server(lambda: edge.protocol(secure=False, port=80), "127.0.0.1", 0)
    http_port = server.sockets[0].getsockname()[1]
    acceptor.start()
    edge.start()
    try:
        with patch.object(ferry.ssh.front, "HardenedConnection", kind):
            yield Inside(front, edge, limiter, routes, ssh_port, http_port, ports, reports)
    finally:
        acceptor.close()
        server.close()
        edge.close()
        await front.stop()
        ports.release()
