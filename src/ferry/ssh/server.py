"""The SSH server of a worker: it admits connections, keeps the table of clients, and drains them at the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from asyncssh.constants import DISC_SERVICE_NOT_AVAILABLE, DISC_TOO_MANY_CONNECTIONS

from ferry import limits
from ferry.amounts import number
from ferry.clock import Clock, random_number
from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.limiters.handshakes import HandshakeGate
from ferry.limiters.origins import Origins
from ferry.limiters.penalties import Penalties
from ferry.limiters.spacings import Spacings
from ferry.names import ConnectionId, Identity, IdentityId, printable
from ferry.policy.sshd import SshdOptions, Who
from ferry.protocol.wrong_port import where_ssh_is
from ferry.registry.contract import Registry
from ferry.report import Report, by_rule

from .admission import Admission
from .banner import Banners
from .client import Client
from .commands import Commands
from .direct import DirectChannels
from .explaining import Explainer
from .logged_in import LoggedIn
from .login import LoginAttempt, LoginSettings
from .options import ConnectionOptions
from .refusals import RefusedForwards
from .refused_keys import RefusedKeys
from .settings import SshSettings
from .tunnels import Tunnels
from .wire.connection import HardenedConnection
from .wire.host_key_proofs import HostKeyProofs


class ConnectionLog(Protocol):
    """One row per SSH connection, and what machines call themselves (`ferry.store`). No call waits for the database."""

    def connection_started(
        self, connection: ConnectionId, identity: Identity, peer: str, client_version: str, now: float
    ) -> None: ...

    def connection_ended(self, connection: ConnectionId, reason: str, up: int, down: int, now: float) -> None: ...

    def host_told(self, identity: IdentityId, host: str) -> None: ...


class SshServer:
    """All SSH connections of one worker. It implements `login.LoginServer` and `client.ClientServer`."""

    def __init__(
        self,
        settings: SshSettings,
        tunnels: Tunnels,
        direct: DirectChannels,
        gate: HandshakeGate,
        penalties: Penalties,
        options: ConnectionOptions,
        *,
        clock: Clock,
        report: Report,
        registry: Registry,
        connections: ConnectionLog,
        host_keys: HostKeyProofs,
        prefer_gcm: bool = True,
        make_connection: type[HardenedConnection] = HardenedConnection,
        closed: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        """`closed` says why nobody may log in now, if so."""
        self.settings = settings
        self.tunnels = tunnels
        self.direct = direct
        self.clock = clock
        self.report = report
        self._closed = closed
        self._connections = connections
        self._options = options
        self._host_keys = host_keys
        self._prefer_gcm = prefer_gcm
        self._make_connection = make_connection
        self.origins = Origins()
        self.admission = Admission(gate, penalties, clock=clock, report=report, retry_after=self._retry_after)
        """The log-ins in progress, and the refusal of others."""
        self._clients: dict[ConnectionId, Client] = {}
        self._of_identity: dict[IdentityId, set[Client]] = {}
        self._key_exchanges = Spacings()
        self.refusals = RefusedForwards()
        self._banners = Banners(registry, self.refusals)
        self.refused_keys = RefusedKeys()
        self.explainer = Explainer(tunnels.decisions, tunnels.claims)
        self.commands = Commands(tunnels, self.refusals, registry, clock, report, settings)

    # --- connections

    def take(self, sock: socket.socket) -> None:
        """Serve an accepted non-blocking socket, from which nothing has been read, or refuse it with a reason."""
        self.admission.take(sock, lambda slot: LoginAttempt(self, self.admission, slot, self._connection))

    def turn_away(self, sock: socket.socket) -> None:
        """Refuse an accepted non-blocking socket on a port that does not serve SSH, and name the one that does."""
        self.admission.turn_away(sock, where_ssh_is(self.urls))

    def _connection(self, attempt: LoginAttempt) -> HardenedConnection:
        return self._make_connection(
            asyncio.get_running_loop(),
            self._options,
            connection=attempt.id,
            login=attempt,
            owner=attempt,
            bounds=self.settings,
            host_keys=self._host_keys,
            prefer_gcm=self._prefer_gcm,
        )

    # --- log-ins, as their server

    @property
    def login(self) -> LoginSettings:
        """The settings of log-ins that are in force now."""
        return self.settings.login

    @property
    def urls(self) -> Urls:
        """The gateway's addresses, for people."""
        return self.settings.notices.urls

    @property
    def signatures(self) -> Sequence[str]:
        """The algorithms with which a key of anybody may sign."""
        return self.settings.sshd.signatures

    def sshd_of(self, who: Who) -> SshdOptions:
        """The operator's settings with sshd's names that count for somebody."""
        return self.settings.sshd.of(who)

    def no_room_for(self, identity: IdentityId) -> tuple[str, int] | None:
        if (refusal := self._closed()) is not None:
            return refusal.public, DISC_SERVICE_NOT_AVAILABLE
        most = self.login.connections_per_identity
        if len(self._of_identity.get(identity, ())) < most:
            return None
        return (
            f"you have {number(most, 'connection')} open, which is the limit; retry-after=60",
            DISC_TOO_MANY_CONNECTIONS,
        )

    async def banner(self, identity: IdentityId) -> str | None:
        return await self._banners.banner(identity, self.settings.notices)

    def logged_in(self, attempt: LoginAttempt, who: LoggedIn) -> None:
        """Make a client of a connection that has logged in."""
        client = Client(who, attempt.connection, self)
        spacing = self._key_exchanges.enter(
            client.identity.id,
            max(limits.KEY_EXCHANGES_TOGETHER, self.login.connections_per_identity),
            limits.KEY_EXCHANGES_OF_IDENTITY_PER_SECOND,
        )
        client.connection.serve(client, spacing)
        client.keep_alive()
        self._clients[client.id] = client
        self._of_identity.setdefault(client.identity.id, set()).add(client)
        self._connections.connection_started(
            client.id, client.identity, str(client.peer), client.client_version, self.clock.now()
        )
        self.report(
            "connection.opened",
            connection=client.id,
            identity=client.identity,
            peer=str(client.peer),
            client_version=client.client_version,
            **({"keys": [other.fingerprint for other in client.key_line.beside]} if client.key_line.beside else {}),
            **by_rule(client.key_line.places),
        )

    def lost(self, attempt: LoginAttempt, error: Exception | None) -> None:
        """Remove the client of a connection that is gone, if it had logged in."""
        if (client := self._clients.get(attempt.id)) is None:
            return
        try:
            client.closed(error)
            self._tell_end(client)
        finally:
            del self._clients[client.id]
            self._key_exchanges.leave(client.identity.id)
            same = self._of_identity[client.identity.id]
            same.remove(client)
            if not same:
                del self._of_identity[client.identity.id]

    def _tell_end(self, client: Client) -> None:
        now = self.clock.now()
        self._connections.connection_ended(client.id, client.end_reason, client.up, client.down, now)
        self.report(
            "connection.closed",
            connection=client.id,
            peer=str(client.peer),
            reason=printable(client.end_reason),
            seconds=now - client.began,
            up=client.up,
            down=client.down,
        )

    # --- clients, as their server

    def is_at(self, identity: IdentityId, origin: str) -> bool:
        """Whether one of the connections of an identity comes from `origin`."""
        return any(client.origin == origin for client in self._of_identity.get(identity, ()))

    def host_told(self, client: Client, host: str) -> None:
        """A session of `client` says how its machine is called."""
        if not client.identity.anonymous:
            self._connections.host_told(client.identity.id, host)

    # --- the table

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def __len__(self) -> int:
        return len(self._clients)

    def get(self, connection: str) -> Client | None:
        """The client on that connection."""
        return self._clients.get(ConnectionId(connection))

    # --- time

    async def tick(self) -> None:
        """Once a second: end connections that are stuck, and give up opens that were not answered.

        It waits for nothing, because all deadlines depend on it.
        """
        self.admission.tick()
        now = self.clock.monotonic()
        loop_now = asyncio.get_running_loop().time()
        for client in self:
            self.run_isolated(client, partial(_look_at, client, now, loop_now))

    async def use_settings(self) -> None:
        """Have all clients follow the settings and the policy in force. Others have their turn meanwhile."""
        for done, client in enumerate(self, 1):
            self.run_isolated(client, client.use_settings)
            if done % limits.SETTINGS_CLIENTS == 0:
                await asyncio.sleep(0)

    def run_isolated(self, client: Client, action: Callable[[], None]) -> None:
        """Run `action` for one of many clients. If it fails, end that client alone."""
        try:
            action()
        except Exception:
            client.connection.internal_error()

    # --- the end

    def _retry_after(self) -> int:
        """Seconds after which a client should come back, spread wider the more clients there are."""
        spread = max(2, min(60, len(self._clients) // 50))
        return 1 + random_number(spread)

    def start_drain(self) -> None:
        """Take no new connections and no new visitors of ports, and tell everybody."""
        self.admission.start_drain()
        self.tunnels.stop_listening()
        for client in self:
            seconds = self._retry_after()
            client.tell(f"the gateway is stopping; retry-after={seconds}", event="draining", retry_after=seconds)

    async def drain(self, seconds: float) -> None:
        """Return when ports and aliases have no visitors any more, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.tunnels.wait_served()
                for client in list(self):
                    await client.direct.wait_empty()

    async def stop(self) -> None:
        """Disconnect everybody, with the time after which to come back, and release their addresses."""
        clients = list(self)
        for client in clients:
            reason = f"the gateway is stopping; retry-after={self._retry_after()}"
            self.run_isolated(client, partial(client.close, reason))
        self.admission.close()
        await asyncio.gather(*(client.connection.wait_closed() for client in clients))


def _look_at(client: Client, now: float, loop_now: float) -> None:
    if (why := client.connection.stuck(loop_now)) is not None:
        client.abort(why)
        return
    for tunnel in list(client.forwards.values()):
        tunnel.give_up_openings(now)
    client.sessions.refresh()
