"""The tunnels of one worker, and the life of a forward: parse → decide → claim → listen → tell. Its close undoes the steps
in reverse order.

An address belongs to an identity. The newest claim of a *requested* address wins at once, and the older connection loses
that one tunnel. An address that the gateway chooses is taken over only from a connection that no longer answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from ferry import limits, tasks
from ferry.callbacks import call_each
from ferry.clock import Clock, random_token
from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.limiters.flapping import FlapGuard
from ferry.names import ConnectionId, Endpoint, IdentityId, TunnelId, WorkerId
from ferry.policy.forwards import (
    request_refusal,
)
from ferry.policy.grants import Grant
from ferry.policy.machine_names import alias_refusal
from ferry.policy.port_lines import of_another
from ferry.registry.contract import Registry
from ferry.registry.holders import AddressHolder, Holders, Taker
from ferry.registry.routes import Routes, Tunnel
from ferry.report import Report, by_rule

from .claims import Claim, Claims
from .forward_decisions import ForwardDecisions, PermittedForward
from .forward_settings import ForwardSettings, ForwardsInForce
from .judging import refusal_now
from .local_holders import LocalHolders
from .tunnel import GrantedForward, SshTunnel
from .tunnel_client import TunnelClient

_log = logging.getLogger("ferry.ssh")

_NONE: Final[Mapping[tuple[bytes, int], SshTunnel]] = MappingProxyType({})


class Tunnels:
    """All tunnels in service."""

    def __init__(
        self,
        *,
        worker: WorkerId,
        clock: Clock,
        report: Report,
        registry: Registry,
        routes: Routes,
        secret: bytes,
        in_force: ForwardsInForce,
        holders: Holders | None = None,
        requests_at: Callable[[str], int] = lambda _: 0,
        closed: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        """`holders` finds the holders in all workers. Without it this worker is the only one. `requests_at` says how many
        requests of a hostname are in progress, and `closed` why nothing new may open now."""
        self._clock = clock
        self._report = report
        self._routes = routes
        self._in_force = in_force
        self._requests_at = requests_at
        self._closed = closed
        self._stopping = False
        self._in_service: dict[Tunnel, _InService] = {}
        self._of_connection: dict[ConnectionId, dict[tuple[bytes, int], SshTunnel]] = {}
        """By host and port of the request. A connection without a tunnel is not here."""
        self._here: LocalHolders[_InService] = LocalHolders()
        self.holders = self._here if holders is None else holders
        self._flaps = FlapGuard()
        """Counts takeovers, to stop an address from changing hands for ever."""
        self.claims = Claims(
            registry=registry, worker=worker, clock=clock, report=report, in_force=in_force, holders=self.holders
        )
        self.decisions = ForwardDecisions(
            registry=registry,
            clock=clock,
            secret=secret,
            in_force=in_force,
            holders=self.holders,
            flaps=self._flaps,
            of_connection=self.of_connection,
            too_late=self._too_late,
        )

    # --- the way into service

    async def open(self, client: TunnelClient, host: bytes, port: int) -> SshTunnel | Refusal:
        """Decide one `tcpip-forward` request: a tunnel in service, or the refusal."""
        return await self.decisions.decide(client, host, port, self._claimed)

    async def _claimed(self, permitted: PermittedForward) -> SshTunnel | Refusal:
        """The last step of a decision: claim the address, and put it into service."""
        claim = await self.claims.take(permitted.claim)
        return claim if isinstance(claim, Refusal) else await self._serve(permitted, claim)

    async def _serve(self, permitted: PermittedForward, claim: Claim) -> SshTunnel | Refusal:
        """Put a claimed address into service. If a step fails, give the claim back."""
        client, grant, (host, port) = permitted.client, permitted.grant, permitted.bind
        forward = GrantedForward(
            TunnelId(random_token(4)),
            permitted.request,
            (host, grant.address.port if port == 0 else port),
            created=self._clock.now(),
            taken_from=_taken_from(await self.holders.at(grant.address), client.identity.id),
            rule=grant.rule,
        )
        tunnel = SshTunnel(forward, claim, client, client.connection, clock=self._clock, report=self._report)
        try:
            refusal = await self._prepare(tunnel, permitted)
        except BaseException:
            await self._undo(tunnel)
            raise
        if refusal is not None:
            await self._undo(tunnel)
            return refusal
        try:
            self._enter(_InService(self, tunnel, client), grant, permitted.settings)
        except BaseException:
            self.close(tunnel, "internal error", unwanted=True)
            raise
        return tunnel

    async def _prepare(self, tunnel: SshTunnel, permitted: PermittedForward) -> Refusal | None:
        """Make the earlier holder give way, and open the port."""
        client, grant = permitted.client, permitted.grant
        if (too_late := self._too_late(client)) is not None:
            return too_late
        if (holder := await self.holders.at(grant.address)) is not None:
            await holder.give_way(Taker(client.id, client.identity.id, client.peer))
        refusal = await _listen(tunnel, permitted) or self._too_late(client)
        return refusal or self._refusal_now(client, tunnel)  # what decided on the request may have changed

    def _refusal_now(self, client: TunnelClient, tunnel: SshTunnel) -> Refusal | None:
        """Why a tunnel is not allowed any more: by the line of its client's key, by the operator's settings, by the name of
        another key, or by the policy."""
        settings, may, forward = self._in_force.forwards, client.may, tunnel.forward
        return (
            request_refusal(may, forward.request, tunnel.bind, settings.rules)
            or alias_refusal(client.identity.name, tunnel.address, settings.place_of_name)
            or refusal_now(client, tunnel.address, settings, self._clock.now(), forward.rule)
            or tunnel.moved(settings.rules, may)
        )

    def close_forbidden(self, client: TunnelClient) -> None:
        """Close the tunnels of a connection that are not allowed any more."""
        for tunnel in list(self.of_connection(client.id).values()):
            if (refusal := self._refusal_now(client, tunnel)) is not None:
                self.take_away(tunnel, f"{tunnel.address} was closed: {refusal.public}")

    def close_misnamed(self) -> None:
        """Close the aliases with the name of another identity's key: the operator has given it that name meanwhile."""
        place_of = self._in_force.forwards.place_of_name
        for entry in list(self._in_service.values()):
            tunnel = entry.tunnel
            if (refusal := alias_refusal(tunnel.owner_name, tunnel.address, place_of)) is not None:
                self.take_away(tunnel, f"{tunnel.address} was closed: {refusal.public}")

    def _too_late(self, client: TunnelClient) -> Refusal | None:
        """The refusal of a forward that opens while its connection closes, the gateway stops, or nothing new may open."""
        if client.is_closed:
            return Refusal("the connection closed meanwhile", code="gone")
        return Refusal("the gateway is stopping", code="stopping") if self._stopping else self._closed()

    async def _undo(self, tunnel: SshTunnel) -> None:
        """Give back everything of a tunnel that never was in service."""
        tunnel.stop_listening(cut=True)
        await self.claims.undo(tunnel.claim)

    def _enter(self, entry: _InService, grant: Grant, settings: ForwardSettings) -> None:
        """Enter a tunnel in all tables: visitors may come. If a step fails, `close` undoes those before it."""
        tunnel, client = entry.tunnel, entry.client
        self._in_service[tunnel] = entry
        self._here.add(tunnel.address, entry)
        self._of_connection.setdefault(client.id, {})[tunnel.bind] = tunnel
        self._routes.add(tunnel, grant)
        self.claims.enter(tunnel.claim, entry)
        self._report(
            "tunnel.opened",
            tunnel=tunnel.id,
            connection=client.id,
            address=str(tunnel.address),
            kind=tunnel.kind,
            url=kind_of(tunnel.address.kind).plain_url(tunnel.address, settings.urls),
            **tunnel.listens_at,
            **by_rule(grant.rule),
        )

    # --- the way out

    def close(self, tunnel: SshTunnel, reason: str, *, unwanted: bool = False) -> None:
        """Take a tunnel out of service, release its address, and let open streams go on. There is no other way out.

        `unwanted`: also drop a reservation that it made, because it ought not to have been opened.
        """
        if (entry := self._in_service.pop(tunnel, None)) is None:
            return
        client = entry.client
        same = self._of_connection[client.id]
        del same[tunnel.bind]
        if not same:
            del self._of_connection[client.id]
        self._here.remove(tunnel.address, entry)
        self._routes.remove(tunnel)
        tunnel.stop_listening(cut=False)
        tunnel.close()
        self.claims.release(tunnel.claim, visited=tunnel.was_visited, unwanted=unwanted)
        self._report(
            "tunnel.closed",
            tunnel=tunnel.id,
            connection=client.id,
            address=str(tunnel.address),
            kind=tunnel.kind,
            reason=reason,
            **tunnel.carried(),
            **by_rule(tunnel.forward.rule),
        )

    def close_all_of(self, client: TunnelClient, reason: str, *, cut: bool) -> None:
        """Close every tunnel of a connection. `cut` also ends their streams."""
        for tunnel in list(self.of_connection(client.id).values()):
            try:
                self.close(tunnel, reason)
            except Exception as error:  # the others close all the same
                client.connection.sink_failed(error)
            if cut:
                tunnel.cut()

    def take_away(self, tunnel: Tunnel, reason: str) -> None:
        """Close a tunnel for the operator or the gateway, and disconnect its client if that has no other and waits for none.

        The owner of a tunnel that has closed is told too: visitors who came before may still be there.
        """
        if (entry := self._in_service.get(tunnel)) is not None:
            self.close(entry.tunnel, reason)
            entry.tunnel.cut()
        tunnel.tell(reason, event="closed", address=str(tunnel.address))
        if entry is not None:
            entry.client.end_if_unused(reason)

    def hand_over(self, tunnel: SshTunnel, client: TunnelClient, to: Taker) -> None:
        """Close the tunnel of a connection whose identity has claimed the address on another connection."""
        reason = f"{tunnel.address} was taken over by your connection from {to.peer}"
        self.close(tunnel, reason)
        self._report("tunnel.takeover", address=str(tunnel.address), connection=to.connection, previous=client.id)
        client.tell(reason, event="takeover")
        tasks.spawn(f"settle {client.id}", self._settle(tunnel, client, reason))

    async def _settle(self, tunnel: SshTunnel, client: TunnelClient, reason: str) -> None:
        """Let the visitors of a tunnel that was taken over finish if its client answers, and end a client without any."""
        if await client.alive(limits.FLAP_ALIVE_SECONDS):
            self._flaps.counted(tunnel.address, self._clock.monotonic())
            await tunnel.wait_idle(limits.TAKEOVER_DRAIN_SECONDS)
        tunnel.cut()
        client.end_if_unused(reason)

    # --- all of them

    def __iter__(self) -> Iterator[SshTunnel]:
        return iter([entry.tunnel for entry in self._in_service.values()])

    def of(self, identity: IdentityId) -> list[SshTunnel]:
        """The tunnels of an identity: those of its oldest connection first."""
        entries = sorted(self._here.of(identity), key=lambda entry: entry.client.began)
        return [entry.tunnel for entry in entries]

    def of_connection(self, connection: ConnectionId) -> Mapping[tuple[bytes, int], SshTunnel]:
        """The tunnels of a connection, by host and port of the request."""
        return self._of_connection.get(connection, _NONE)

    def visitors_of(self, tunnel: SshTunnel) -> int:
        """The number of requests and connections of a tunnel that are in progress."""
        idle_too = kind_of(tunnel.address.kind).holds_idle_streams
        return self._requests_at(tunnel.address.name) if idle_too else tunnel.streams

    def stop_listening(self) -> None:
        """Take no new visitors from any port, and open no more tunnels: the gateway stops."""
        self._stopping = True
        call_each(_log, "a tunnel still listens", [partial(tunnel.stop_listening, cut=False) for tunnel in self])

    async def wait_served(self) -> None:
        """Return when no port and no alias has visitors any more."""
        while serving := [tunnel for tunnel in self if tunnel.serving]:
            for tunnel in serving:
                await tunnel.wait_served()


class _InService:
    """One tunnel in service, with its client: the `AddressHolder` and `ClaimEvents` of its address."""

    __slots__ = ("_tunnels", "client", "tunnel")

    def __init__(self, tunnels: Tunnels, tunnel: SshTunnel, client: TunnelClient) -> None:
        self._tunnels = tunnels
        self.tunnel = tunnel
        self.client = client

    # --- AddressHolder

    @property
    def identity(self) -> IdentityId:
        return self.tunnel.owner

    @property
    def connection(self) -> ConnectionId:
        return self.client.id

    @property
    def peer(self) -> Endpoint:
        return self.client.peer

    @property
    def silent_for(self) -> float:
        return self.tunnel.silent_for

    async def alive(self, seconds: float) -> bool:
        return await self.client.alive(seconds)

    async def give_way(self, to: Taker) -> None:
        if to.identity == self.identity:
            self._tunnels.hand_over(self.tunnel, self.client, to)
        else:  # the registry gave the address away, because it never had the lease of this tunnel
            self._tunnels.take_away(self.tunnel, of_another(self.tunnel.address))

    # --- ClaimEvents

    def claim_lost(self, why: Refusal) -> None:
        self._tunnels.take_away(self.tunnel, why.public)

    def reserved(self) -> None:
        self.client.tell(f"{self.tunnel.address} is now reserved for you", event="reserved")

    def not_reserved(self, why: str) -> None:
        self.client.tell(f"{self.tunnel.address} is not reserved for you: {why}", event="not_reserved")


def _taken_from(holder: AddressHolder | None, identity: IdentityId) -> str:
    """For the owner: the connection that gives way, if it is one of the same identity."""
    if holder is None or holder.identity != identity:
        return ""
    silent = f", which was silent for {holder.silent_for:.0f} s" if holder.silent_for else ""
    return f"taken over from your connection from {holder.peer}{silent}"


async def _listen(tunnel: SshTunnel, permitted: PermittedForward) -> Refusal | None:
    """Open the port of an address that has one of its own."""
    if (opening := permitted.opening) is None:
        return None
    listener = await permitted.settings.ports.listen(tunnel, permitted.grant, opening)
    if isinstance(listener, Refusal):
        return listener
    tunnel.listening(opening, listener)
    return None
