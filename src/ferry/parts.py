"""One worker's parts, made and wired together. Nothing listens yet, and nothing here waits for anybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import cast

from .clock import Clock
from .config.model import Config
from .edge.connections import Connections
from .edge.descriptors import DescriptorGate
from .edge.http.edge import HttpEdge
from .edge.tcp import TcpEdge
from .edge.tls.certificates import Certificates
from .edge.tls.local_ca import LocalCa
from .kept import Kept
from .kinds import kind_of
from .kinds.web import HTTP
from .limiters.connection_limiter import ConnectionLimiter
from .limiters.flapping import FlapGuard
from .limiters.handshakes import HandshakeGate
from .limiters.penalties import Penalties
from .limiters.sources import ExemptNetworks
from .listening import Listening, TcpPorts
from .observe.observer import Observation
from .operator_view import OperatorView
from .registry.routes import Routes, Tunnel
from .report import Report
from .ssh.access import Anyone, KeyFiles
from .ssh.front import ConnectionOptions, SshFront, connection_options
from .ssh.host_keys import describe
from .ssh.services import Access, Services
from .ssh.tunnel import SshTunnel
from .wiring import client_limits_of, connection_bounds_of, http_bounds_of, public_is_loopback, rules_of, web_of


class Parts:
    """Everything that one worker is made of.

    A reload changes `front.services`, `view.config`, the folder of `certificates` and what `listening` has open. All
    else stays as it was made.
    """

    def __init__(
        self,
        config: Config,
        kept: Kept,
        clock: Clock,
        observation: Observation,
        descriptors: DescriptorGate,
        options: ConnectionOptions,
    ) -> None:
        report, exempt = observation.report, ExemptNetworks(config.limits.exempt)
        self.kept = kept
        self.clock = clock
        self.observation = observation
        self._routes, self._flaps = Routes(), FlapGuard()
        self._limiter = ConnectionLimiter(config.limits.connections_per_visitor, exempt)
        self._connections = Connections(descriptors, exempt, clock)
        self.edge = self._http_edge(config)
        self.certificates = Certificates(
            domain=config.domain,
            local=LocalCa.open(config.state, config.domain, clock=clock),
            allowed=lambda host: host == config.domain or host in self._routes.seen_hosts,
            report=report,
            clock=clock,
        )
        self.listening = Listening(self.edge, self.certificates, report, descriptors)
        access = access_of(config, report)
        access.use(None)  # tells what its files hold, before anybody can connect
        self.front = SshFront(
            self.services(config, access),
            HandshakeGate(config.ssh.handshakes, config.ssh.handshakes_per_network, exempt),
            Penalties(exempt, on=config.ssh.penalties),
            options,
            prefer_gcm=config.ssh.prefer_aes_gcm,
        )
        self.view = self._operator_view(config)

    def services(self, config: Config, access: Access) -> Services:
        """What an SSH connection may use under `config`."""
        return Services(
            worker=self.kept.worker,
            clock=self.clock,
            report=self.observation.report,
            registry=self.kept.registry,
            routes=self._routes,
            people=self.kept.people,
            sessions=self.kept.sessions,
            access=access,
            ports=TcpPorts(self._tcp_edge(config), config.tcp.public_addresses),
            rules=rules_of(config),
            web=web_of(config),
            urls=config.urls(self.certificates.covers),
            limits=client_limits_of(config),
            bounds=connection_bounds_of(config),
            flaps=self._flaps,
            secret=self.kept.secret,
            public_is_loopback=public_is_loopback(config),
            banner=config.ssh.banner,
            request_log=config.session.request_log,
        )

    async def note_reserved_hosts(self) -> None:
        """The local CA signs for the hosts of reservations, also before their tunnels are back."""
        for reservation in await self.kept.registry.reservations(None):
            if kind_of(reservation.address.kind).has_host:
                self._routes.note_host(reservation.address.name)

    def _http_edge(self, config: Config) -> HttpEdge:
        return HttpEdge(
            self._routes,
            domain=config.domain,
            clock=self.clock,
            report=self.observation.report,
            known=self._known,
            secret=self.kept.secret,
            bounds=http_bounds_of(config),
            limiter=self._limiter,
            connections=self._connections,
        )

    async def _known(self, host: str) -> bool:
        """Whether somebody has reserved `host`."""
        address, keep = HTTP.address(host), self.front.services.rules.keep
        return await self.kept.registry.reservation(address, now=self.clock.now(), keep=keep) is not None

    def _tcp_edge(self, config: Config) -> TcpEdge:
        return TcpEdge(
            report=self.observation.report,
            clock=self.clock,
            open_proxy=self._open_proxy,
            allow_open_proxy=config.tcp.allow_open_proxy,
            visitors=config.limits.visitors_per_tunnel,
            limiter=self._limiter,
            connections=self._connections,
        )

    def _open_proxy(self, tunnel: Tunnel) -> None:
        reason = (
            f"{tunnel.address} was closed: a SOCKS proxy answered there, so anybody could go out through your network. "
            "Write a target (-R 0:localhost:PORT), or ask the operator for tcp.allow_open_proxy"
        )
        self.front.close_tunnel(cast(SshTunnel, tunnel), reason)

    def _operator_view(self, config: Config) -> OperatorView:
        return OperatorView(
            config=config,
            front=self.front,
            registry=self.kept.registry,
            events=self.observation.events,
            metrics=self.observation.metrics.registry,
            host_keys=[describe(key) for key in self.kept.host_keys],
            store_healthy=lambda: self.kept.store.healthy,
            listening=self.listening.bound,
            clock=self.clock,
            started=self.clock.now(),
        )


@asynccontextmanager
async def parts_of(config: Config, kept: Kept, *, clock: Clock, observation: Observation) -> AsyncIterator[Parts]:
    """Make the parts: whatever can fail does so before anybody can connect. Raises StartupError."""
    options = await connection_options(
        kept.host_keys,
        login_grace=config.ssh.login_grace,
        keepalive_interval=config.ssh.keepalive_interval,
        keepalive_count=config.ssh.keepalive_count,
    )
    with closing(DescriptorGate(report=observation.report)) as descriptors:
        parts = Parts(config, kept, clock, observation, descriptors, options)
        await parts.note_reserved_hosts()
        await parts.certificates.use_folder(config.https.certificates)
        yield parts


def access_of(config: Config, report: Report) -> Access:
    """Who may connect. Reads files, and so blocks. Raises StartupError."""
    return Anyone() if config.access.mode == "anyone" else KeyFiles(config.access.keys, report)
