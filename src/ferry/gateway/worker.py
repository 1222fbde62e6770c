"""One worker. `build_worker` makes its parts and wires them together. Nothing listens before `Worker.open`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace

from ferry.clock import Clock
from ferry.config.model import Config
from ferry.edge.connections import Connections
from ferry.edge.descriptors import DescriptorGate
from ferry.edge.hosts import Hosts
from ferry.edge.http.edge import HttpEdge
from ferry.edge.http.shared import Bounds
from ferry.edge.tcp import TcpEdge
from ferry.edge.tls.certificates import Certificates
from ferry.edge.tls.local_ca import LocalCa
from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.limiters.connection_limiter import ConnectionLimiter
from ferry.limiters.handshakes import HandshakeGate
from ferry.limiters.penalties import Penalties
from ferry.limiters.sources import ExemptNetworks
from ferry.observe.events import EventRing
from ferry.observe.metrics import Metrics
from ferry.policy.rulebook import Rulebook
from ferry.protocol.wrong_port import to_ssh
from ferry.registry.routes import Routes, Tunnel
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import Report
from ferry.ssh.access import Anyone, AuthorizedKeys, KeptNames, WatchedAccess
from ferry.ssh.direct import DirectChannels
from ferry.ssh.host_certificates import HostCertificates
from ferry.ssh.host_keys import describe
from ferry.ssh.options import ConnectionOptions, connection_options
from ferry.ssh.server import SshServer
from ferry.ssh.settings import SshSettings
from ferry.ssh.tunnels import Tunnels
from ferry.ssh.wire.connection import HardenedConnection
from ferry.ssh.wire.host_key_proofs import HostKeyProofs

from .fleet import Fleet, FleetSettings, PolicyInForce
from .in_force import ConfigInForce
from .kept import Kept
from .listening import Listening
from .operator_view import OperatorView
from .policies import PolicyFile
from .wiring import http_bounds_of, own_page_of, settings_of, visit_policy_of


class Worker:
    """All parts of one worker.

    A reload changes `in_force`, `settings`, `policy`, `visits.policy`, the folder of `certificates`, the file of `kept.audit`
    and whether it is required, and the listeners. It changes no other part. Another policy file changes `policy`, and the
    rules in `settings.forwards` and `settings.sshd`.
    """

    def __init__(
        self,
        config: Config,
        kept: Kept,
        *,
        clock: Clock,
        report: Report,
        events: EventRing,
        metrics: Metrics,
        descriptors: DescriptorGate,
        options: ConnectionOptions,
        http_bounds: Bounds,
        make_connection: type[HardenedConnection],
    ) -> None:
        exempt = ExemptNetworks(config.limits.exempt)
        self.in_force = ConfigInForce(config)
        self.kept = kept
        self.clock = clock
        self.report = report
        self.routes = Routes()
        self.visits = VisitsInForce(visit_policy_of(config))
        self.limiter = ConnectionLimiter(config.limits.connections_per_visitor, exempt)
        self._connections = Connections(descriptors, exempt, clock)
        self.http = HttpEdge(
            self.routes,
            self.visits,
            domain=config.domain,
            clock=clock,
            report=report,
            is_reserved=self._is_reserved,
            secret=kept.secret,
            to_ssh=lambda: to_ssh(self.settings.notices.urls),
            own_page=lambda: own_page_of(self.in_force.config),
            bounds=http_bounds,
            limiter=self.limiter,
            connections=self._connections,
        )
        local_ca = LocalCa.open(config.state, config.domain, clock=clock)
        self.certificates = Certificates(
            domain=config.domain,
            local=local_ca,
            allowed=lambda host: host == config.domain or host in self.routes.seen_hosts,
            report=report,
            clock=clock,
        )
        self.listening = Listening(self.http, self.certificates, self.in_force, report, descriptors)
        access = access_of(config, report)
        access.use(None)  # reports the keys in its files before any client connects
        self.names = KeptNames()
        self.policy = PolicyFile(clock, report)
        self.settings = self.settings_for(config, access, book := self.policy.load(config, access))
        self.policy.used(book)
        self.tunnels = Tunnels(
            worker=kept.worker,
            clock=clock,
            report=report,
            registry=kept.registry,
            routes=self.routes,
            secret=kept.secret,
            in_force=self.settings,
            requests_at=self.http.requests_at,
            closed=kept.audit.refusal,
        )
        self.ssh = SshServer(
            self.settings,
            self.tunnels,
            self._direct(config, descriptors),
            HandshakeGate(config.ssh.handshakes, config.ssh.handshakes_per_network, exempt),
            Penalties(exempt, on=config.ssh.penalties),
            options,
            clock=clock,
            report=report,
            registry=kept.registry,
            connections=kept.connections,
            host_keys=HostKeyProofs([*kept.host_keys, *kept.next_host_keys]),
            prefer_gcm=config.ssh.prefer_aes_gcm,
            make_connection=make_connection,
            closed=kept.audit.refusal,
        )
        self.host_certificates = HostCertificates(config.state, kept.host_keys, options, clock, report)
        self.view = OperatorView(
            in_force=self.in_force,
            ssh=self.ssh,
            served=self.tunnels,
            report=report,
            registry=kept.registry,
            machines=kept.machines,
            fleet=Fleet(kept.machines, kept.registry, self._fleet_settings, clock, report),
            events=events,
            counted=metrics,
            host_keys=[describe(key) for key in kept.host_keys],
            store_healthy=lambda: kept.store.healthy,
            policy_error=lambda: self.policy.error,
            audit=kept.audit,
            listening=self.listening.bound,
            clock=clock,
            started=clock.now(),
        )
        self._show_in(metrics, local_ca)

    def _show_in(self, metrics: Metrics, local_ca: LocalCa) -> None:
        """Let the metrics read the sizes of tables."""
        metrics.visitors.poll(lambda: len(self.http.connections))
        metrics.idle_streams.poll(lambda: self.http.idle_streams)
        metrics.tables.poll("addresses", lambda: len(self.limiter))
        metrics.tables.poll("offenders", lambda: len(self.ssh.admission.penalties))
        metrics.tables.poll("unidentified", lambda: self.listening.unidentified)
        metrics.tables.poll("certificates", lambda: len(local_ca))

    def settings_for(self, config: Config, access: WatchedAccess, book: Rulebook | None) -> SshSettings:
        """The settings of SSH connections under `config`. `book` is the operator's policy."""
        return settings_of(
            config,
            access=access,
            identities=self.kept.identities,
            ports=self._tcp_edge(config),
            urls=config.urls(self.certificates.covers),
            names=self.names,
            book=book,
        )

    def use_policy(self, book: Rulebook) -> None:
        """Decide by another policy from now on. `Upkeep.read_policy` ends what it does not allow."""
        self.settings.forwards = replace(self.settings.forwards, book=book)
        self.settings.sshd = replace(self.settings.sshd, book=book)
        self.policy.used(book)

    def _fleet_settings(self) -> FleetSettings:
        forwards = self.settings.forwards
        book = forwards.book
        policy = None if book is None else PolicyInForce(book.file, book, self.policy.error)
        return FleetSettings(forwards.rules, forwards.port_lines, forwards.urls, policy)

    async def read_host_certificates(self) -> None:
        """Read the certificates of the host keys, and offer them to clients that come from now on."""
        self.host_certificates.use(await asyncio.to_thread(self.host_certificates.read))

    async def open(self) -> None:
        """Listen: for clients and visitors. Raises StartupError, with nothing open."""
        await self.listening.serve(await self.listening.bind(self.in_force.config), self.ssh)
        self.http.start()

    def close(self) -> None:
        """Stop accepting, and cut visitors over HTTP. Clients stay until `ssh.stop`."""
        self.listening.close()
        self.http.close()

    async def read_names(self) -> None:
        """Read which keys the database has a name for. Raises StoreUnavailable."""
        known = await self.kept.machines.known()
        entered = ((key, known.machines[one.identity].name) for key, one in known.keys.items() if one.entered)
        self.names.use((key, name) for key, name in entered if name is not None)

    async def note_reserved_hosts(self) -> None:
        """Let the local CA sign for the hosts of reservations, also before their tunnels are back."""
        for reservation in await self.kept.registry.reservations(None):
            if kind_of(reservation.address.kind).has_host:
                self.routes.note_host(reservation.address.name)

    async def _is_reserved(self, host: str) -> bool:
        """Whether `host` is reserved."""
        address, keep = HTTP.address(host), self.settings.forwards.rules.keep
        return await self.kept.registry.reservation(address, now=self.clock.now(), keep=keep) is not None

    def _direct(self, config: Config, descriptors: DescriptorGate) -> DirectChannels:
        hosts, domain = Hosts(descriptors), config.domain
        return DirectChannels(
            self.routes,
            self.visits,
            hosts,
            self.settings,
            domain=domain,
            clock=self.clock,
            report=self.report,
            closed=self.kept.audit.refusal,
        )

    def _tcp_edge(self, config: Config) -> TcpEdge:
        return TcpEdge(
            report=self.report,
            clock=self.clock,
            visits=self.visits,
            open_proxy=self._open_proxy,
            allow_open_proxy=config.tcp.allow_open_proxy,
            visitors=config.limits.visitors_per_tunnel,
            limiter=self.limiter,
            connections=self._connections,
        )

    def _open_proxy(self, tunnel: Tunnel) -> None:
        reason = (
            f"{tunnel.address} was closed: a SOCKS proxy answered there, so anybody could go out through your network. "
            "Write a target (-R 0:localhost:PORT), or ask the operator for tcp.allow_open_proxy"
        )
        self.tunnels.take_away(tunnel, reason)


@asynccontextmanager
async def build_worker(
    config: Config,
    kept: Kept,
    *,
    clock: Clock,
    report: Report,
    events: EventRing,
    metrics: Metrics,
    http_bounds: Bounds | None = None,
    make_connection: type[HardenedConnection] = HardenedConnection,
) -> AsyncIterator[Worker]:
    """Make a worker. All steps that can fail come before it listens. Raises StartupError.

    `events` and `metrics` are shown to the operator. `http_bounds` replace those of the configuration, for tests with
    shorter times; `make_connection` is for tests that look into connections.
    """
    options = await connection_options(
        kept.host_keys,
        login_grace=config.ssh.login_grace,
        keepalive_interval=config.ssh.keepalive_interval,
        keepalive_count=config.ssh.keepalive_count,
    )
    with closing(DescriptorGate(report=report)) as descriptors:
        worker = Worker(
            config,
            kept,
            clock=clock,
            report=report,
            events=events,
            metrics=metrics,
            descriptors=descriptors,
            options=options,
            http_bounds=http_bounds or http_bounds_of(config),
            make_connection=make_connection,
        )
        await worker.note_reserved_hosts()
        await worker.read_names()
        await worker.certificates.use_folder(config.https.certificates)
        worker.host_certificates.use(worker.host_certificates.read())
        yield worker


def access_of(config: Config, report: Report) -> WatchedAccess:
    """The access rules. It reads files, so it blocks. Raises StartupError."""
    paths = config.access_paths
    return AuthorizedKeys(paths, report, anyone=config.access.mode == "anyone") if any(paths.all()) else Anyone()
