"""The SSH front of a worker: admits connections, keeps the table of clients, and drains them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import asyncssh

from ferry import __version__, limits
from ferry.clock import Clock, random_number
from ferry.limiters.handshakes import HandshakeGate, Progress
from ferry.limiters.origins import Origins
from ferry.limiters.penalties import Penalties
from ferry.limiters.spacings import Spacings
from ferry.names import ConnectionId, Identity, IdentityId
from ferry.report import Report

from .admission import Admission
from .banner import own_address_banner
from .client import Client
from .commands import Commands
from .forward_settings import ForwardSettings
from .host_keys import HostKey
from .login import LoggedIn, LoginAttempt, LoginSettings
from .notices import Notices
from .refusals import RefusedForward, RefusedForwards
from .services import Services
from .tunnels import Tunnels
from .wire.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS, SIGNATURES
from .wire.connection import ConnectionBounds, HardenedConnection

ConnectionOptions: TypeAlias = asyncssh.SSHServerConnectionOptions


class SshFront:
    """All SSH connections of one worker. `services` may be replaced on reload, for connections that are there too."""

    def __init__(
        self,
        services: Services,
        gate: HandshakeGate,
        penalties: Penalties,
        options: ConnectionOptions,
        *,
        prefer_gcm: bool = True,
        make_connection: type[HardenedConnection] = HardenedConnection,
    ) -> None:
        self._prefer_gcm = prefer_gcm
        self._make_connection = make_connection
        self._origins = Origins()
        self.admission = Admission(
            gate, penalties, clock=services.clock, report=services.report, retry_after=self._retry_after
        )
        """Connections that are logging in, and those that may not."""
        self._options = options
        self._take_over(services)
        self._clients: dict[ConnectionId, Client] = {}
        self._of_identity: dict[IdentityId, set[Client]] = {}
        self._key_exchanges = Spacings()
        self._refused = RefusedForwards()
        self.tunnels = Tunnels(
            worker=services.worker,
            clock=services.clock,
            report=services.report,
            registry=services.registry,
            routes=services.routes,
            secret=services.secret,
            in_force=self,
        )
        self.commands = Commands(self.tunnels, self._refused, services.registry, services.clock, services.report, self)

    def use(self, services: Services) -> None:
        """From now on every connection has these: a key or a forward is judged by what is in force when it is judged."""
        self._take_over(services)
        for client in self:
            client.services = services

    def _take_over(self, services: Services) -> None:
        self.services, self.login, self.notices = services, _login_settings(services), _notices(services)
        self.forwards = ForwardSettings(services.rules, services.web, services.ports, services.urls)

    # --- connections

    def take(self, sock: socket.socket) -> None:
        """Serve an accepted non-blocking socket, from which nothing has been read, or tell it why not."""
        self.admission.take(sock, lambda slot: LoginAttempt(self, slot, self._connection))

    @property
    def bounds(self) -> ConnectionBounds:
        """Of each connection, now."""
        return self.services.bounds

    def _connection(self, attempt: LoginAttempt) -> HardenedConnection:
        return self._make_connection(
            asyncio.get_running_loop(),
            self._options,
            connection=attempt.id,
            login=attempt,
            owner=attempt,
            bounds=self,
            prefer_gcm=self._prefer_gcm,
        )

    # --- log-ins, as their `LoginHost`

    @property
    def clock(self) -> Clock:
        return self.services.clock

    @property
    def report(self) -> Report:
        return self.services.report

    def origin_of(self, peer: str, own: str) -> str:
        return self._origins.of(peer, own)

    def progressed(self, attempt: LoginAttempt, progress: Progress) -> None:
        self.admission.progressed(attempt, progress)

    def over(self, attempt: LoginAttempt, outcome: str) -> None:
        self.admission.over(attempt, outcome)

    async def own_address_banner(self, identity: Identity) -> str | None:
        services = self.services
        return await own_address_banner(
            identity, self.notices, services.registry, secret=services.secret, now=services.clock.now()
        )

    def logged_in(self, attempt: LoginAttempt, who: LoggedIn) -> None:
        """Somebody has logged in, and is a client from now on."""
        services = self.services
        client = Client(who, attempt.connection, self, services)
        spacing = self._key_exchanges.enter(
            client.identity.id,
            max(limits.KEY_EXCHANGES_TOGETHER, self.login.connections_per_identity),
            limits.KEY_EXCHANGES_OF_IDENTITY_PER_SECOND,
        )
        client.connection.serve(client, spacing)
        self._clients[client.id] = client
        self._of_identity.setdefault(client.identity.id, set()).add(client)
        services.connections.connection_started(
            client.id, client.identity, str(client.peer), client.client_version, services.clock.now()
        )
        services.report(
            "connection.opened",
            connection=client.id,
            identity=str(client.identity),
            peer=str(client.peer),
            client_version=client.client_version,
        )

    def lost(self, attempt: LoginAttempt, error: Exception | None) -> None:
        """A connection is gone: if somebody has logged in on it, that is a client no more."""
        if (client := self._clients.get(attempt.id)) is None:
            return
        try:
            client.closed(error)
        finally:
            del self._clients[client.id]
            self._key_exchanges.leave(client.identity.id)
            same = self._of_identity[client.identity.id]
            same.remove(client)
            if not same:
                del self._of_identity[client.identity.id]

    # --- the table

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    def get(self, connection: str) -> Client | None:
        """The client on that connection."""
        return self._clients.get(ConnectionId(connection))

    def is_at(self, identity: IdentityId, origin: str) -> bool:
        """Whether one of the connections of an identity comes from `origin`."""
        return any(client.origin == origin for client in self._of_identity.get(identity, ()))

    def connections_of(self, identity: IdentityId) -> int:
        """Connections that an identity holds."""
        return len(self._of_identity.get(identity, ()))

    def remember(self, identity: IdentityId, refused: RefusedForward) -> None:
        """A connection of that identity was refused something."""
        self._refused.remember(identity, refused)

    # --- time

    async def tick(self) -> None:
        """Once a second: connections that are stuck, streams that were never answered. Waits for nothing: everybody's
        deadlines hang on it."""
        self.admission.tick()
        now = self.services.clock.monotonic()
        loop_now = asyncio.get_running_loop().time()
        for client in self:
            self.apart(client, partial(_look_at, client, now, loop_now))

    def apart(self, client: Client, action: Callable[[], None]) -> None:
        """Do what is done to one client after the other. Where it fails it ends that client, and the next has its turn."""
        try:
            action()
        except Exception:
            client.connection.internal_error()

    # --- the end

    def _retry_after(self) -> int:
        """Seconds after which a client should come back: the more there are, the wider they are spread."""
        spread = max(2, min(60, len(self._clients) // 50))
        return 1 + random_number(spread)

    def start_drain(self) -> None:
        """No new connections, of visitors neither; everybody is told."""
        self.admission.draining = True
        self.tunnels.stop_listening()
        for client in self:
            seconds = self._retry_after()
            client.tell(f"the gateway is stopping; retry-after={seconds}", event="draining", retry_after=seconds)

    async def drain(self, seconds: float) -> None:
        """Return when nothing passes through ports and aliases any more, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                # What is asked is many counts of two packages, and the process is about to end
                while self.tunnels.any_serving:  # noqa: ASYNC110
                    await asyncio.sleep(limits.DRAIN_LOOK_SECONDS)

    async def stop(self) -> None:
        """Disconnect everybody, with the time after which to come back, and give their addresses back."""
        clients = list(self)
        for client in clients:
            client.close(f"the gateway is stopping; retry-after={self._retry_after()}")
        self.admission.close()
        await asyncio.gather(*(client.connection.wait_closed() for client in clients))


def _login_settings(services: Services) -> LoginSettings:
    bounds = services.limits
    return LoginSettings(
        access=services.access,
        people=services.people,
        banner=services.banner,
        tries=bounds.auth_tries,
        key_grace=bounds.key_grace,
        connections_per_identity=bounds.connections_per_identity,
    )


def _notices(services: Services) -> Notices:
    return Notices(services.urls, services.rules, services.public_is_loopback)


def _look_at(client: Client, now: float, loop_now: float) -> None:
    if (why := client.connection.stuck(loop_now)) is not None:
        client.end_reason = why
        client.connection.abort()
        return
    for tunnel in list(client.forwards.values()):
        tunnel.give_up_openings(now)


async def connection_options(
    host_keys: Sequence[HostKey], *, login_grace: float, keepalive_interval: float, keepalive_count: int
) -> ConnectionOptions:
    """The asyncssh options that all connections share, made once (making them costs 1 ms and more)."""
    options: ConnectionOptions = await asyncssh.SSHServerConnectionOptions.construct(
        server_factory=asyncssh.SSHServer,
        server_version=f"Ferry_{__version__}",
        server_host_keys=list(host_keys),
        kex_algs=KEX_ALGORITHMS,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        signature_algs=SIGNATURES,
        compression_algs=["none"],
        login_timeout=login_grace,
        keepalive_interval=keepalive_interval,
        keepalive_count_max=keepalive_count,
        host_based_auth=False,
        password_auth=False,
        gss_host=None,
        agent_forwarding=False,
        x11_forwarding=False,
        allow_scp=False,
        line_editor=False,
        encoding=None,
        utf8_decode_errors="replace",
    )
    for algorithm in options.server_host_keys.keys() - HOST_KEY_ALGORITHMS:
        del options.server_host_keys[algorithm]
    return options
