"""The tunnels of one worker, and the life of a forward: parse → decide → claim → listen → tell. Its close undoes the steps
in reverse order.

An address belongs to an identity. The newest claim of a *requested* address wins at once, and the older connection loses
that one tunnel. An address that the gateway chooses is taken over only from a connection that no longer answers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

from ferry import limits, tasks
from ferry.callbacks import call_each
from ferry.clock import Clock, random_token
from ferry.errors import InvalidInput, Refusal
from ferry.kinds import check_on, kind_of, parse_forward, parse_socket
from ferry.kinds.base import ForwardRequest
from ferry.limiters.flapping import FlapGuard
from ferry.names import Address, ConnectionId, Endpoint, IdentityId, TunnelId, WorkerId
from ferry.policy.allowance import Allowance
from ferry.policy.forwards import (
    candidate_addresses,
    check_counts,
    login_name_address,
    request_refusal,
    requested,
)
from ferry.policy.grants import Grant
from ferry.policy.judge import Judge
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.registry.contract import Registry, StoreUnavailable, TakenBy
from ferry.registry.holders import AddressHolder, Holders, Taker
from ferry.registry.routes import Routes, Tunnel
from ferry.report import Report

from .claims import Claim, Claims, code_of, of_another
from .forward_settings import ForwardSettings, ForwardsInForce
from .judging import judge_of, over_limit_of, refusal_now, with_limits
from .kept_ports import grant_of, label_of, naming_own_ports
from .local_holders import LocalHolders
from .notices import store_down
from .tunnel import GrantedForward, SshTunnel
from .tunnel_client import TunnelClient

_log = logging.getLogger("ferry.ssh")

_REFUSED_AT_EVERY_ADDRESS: Final = frozenset(code_of(reason) for reason in (TakenBy.OVER_LIMIT, TakenBy.NETWORK_LIMIT))
"""Codes of refusals that a claim of any other address would get too."""


EXHAUSTED: Final = Refusal("every address that could be given is in use: ask for one by name", code="exhausted")
_NONE: Final[Mapping[tuple[bytes, int], SshTunnel]] = MappingProxyType({})


class UndecidedForward(NamedTuple):
    """One request that is being decided, with the settings that decide."""

    client: TunnelClient
    request: ForwardRequest
    bind: tuple[bytes, int]
    settings: ForwardSettings
    judge: Judge | None
    """The operator's policy for the client."""


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
        self._registry = registry
        self._routes = routes
        self._secret = secret
        """For names and ports that the gateway chooses."""
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

    # --- the way into service

    async def open(self, client: TunnelClient, host: bytes, port: int) -> SshTunnel | Refusal:
        """Decide one `tcpip-forward` request: a tunnel in service, or the refusal."""
        if (too_late := self._too_late(client)) is not None:
            return too_late
        try:
            # no other forward of the identity opens between the count of its tunnels and the entry of this one
            async with self.holders.claiming(client.identity.id):
                asked = await self.asked(client, host, port)
                return asked if isinstance(asked, Refusal) else await self._open(*asked)
        except InvalidInput as error:
            return Refusal(str(error), code="invalid", detail=error.detail, repeats_input=True)
        except StoreUnavailable as error:
            return Refusal(store_down(error), code="store", detail=str(error), retry_after=60)

    async def asked(
        self, client: TunnelClient, host: bytes, port: int
    ) -> tuple[UndecidedForward, Address | None] | Refusal:
        """One request, if its form, the key, the settings and the counts allow it, and the address that it asks for; None:
        the gateway chooses. Raises InvalidInput and StoreUnavailable."""
        settings = self._in_force.forwards
        request = _parsed(client, host, port, settings)
        if isinstance(request, Refusal):
            return request
        if (refusal := request_refusal(client.may, request, (host, port), settings.rules)) is not None:
            return refusal
        judge = judge_of(client, settings, self._clock.now())
        undecided = UndecidedForward(client, request, (host, port), settings, judge)
        too_many = check_counts(
            settings.rules,
            on_connection=len(self.of_connection(client.id)),
            of_identity=await self.holders.count_of(client.identity.id) if undecided.judge is None else 0,
            gateway=settings.urls.gateway,
        )
        if too_many is not None:
            return too_many
        if undecided.bind in self.of_connection(client.id):  # never with port 0: a held tunnel has a number
            return Refusal(_duplicate(request, undecided.bind[1]), code="duplicate")
        address = requested(request, settings.rules)
        if isinstance(address, Refusal):
            return address
        if address is None and (address := await self._owned_login_name(undecided)) is not None:
            label = kind_of(address.kind).label_of(address, settings.rules)
            undecided = undecided._replace(request=replace(request, name=label, by_login_name=True))
            refusal = request_refusal(client.may, undecided.request, undecided.bind, settings.rules)
            if refusal is not None:
                return refusal
        return undecided, address

    async def _open(self, undecided: UndecidedForward, address: Address | None) -> SshTunnel | Refusal:
        if address is None:
            return await self._open_chosen(undecided)
        client = undecided.client
        grant = grant_of(client.identity, address, undecided.settings, undecided.judge)
        opened = grant if isinstance(grant, Refusal) else await self._open_requested(undecided, grant)
        if isinstance(opened, Refusal):
            return await naming_own_ports(self._registry, client, address, opened)
        return opened

    async def _owned_login_name(self, undecided: UndecidedForward) -> Address | None:
        """`blog@gw` means blog if it is theirs already: ssh always sends a login name, so that can never claim one."""
        rules = undecided.settings.rules
        address = login_name_address(undecided.client.user, undecided.request.kind, rules)
        if address is None:
            return None
        reservation = await self._registry.reservation(address, now=self._clock.now(), keep=rules.keep)
        return address if reservation is not None and reservation.owner == undecided.client.identity.id else None

    async def _open_requested(self, undecided: UndecidedForward, grant: Grant) -> SshTunnel | Refusal:
        client, address = undecided.client, grant.address
        holder = await self.holders.at(address)
        if holder is not None and holder.identity == client.identity.id:
            if holder.connection == client.id:
                return Refusal(kind_of(address.kind).again(address), code="duplicate")
            wait = self._flaps.wait(address, self._clock.monotonic())
            if wait > 0:
                return Refusal(
                    f"{address} changed hands {limits.FLAP_TAKEOVERS} times in a minute between connections of yours; "
                    f"it stays with the one from {holder.peer}: stop one of them, or ask again in {wait:.0f} s",
                    code="flapping",
                    retry_after=math.ceil(wait),
                )
        claim = await self._claim(undecided, grant, derived=False)
        return claim if isinstance(claim, Refusal) else await self._serve(undecided, grant, claim)

    async def _open_chosen(self, undecided: UndecidedForward) -> SshTunnel | Refusal:
        """Choose an address for this identity: one that it had before, else the next derived one."""
        client = undecided.client
        had = [] if client.identity.anonymous else await self._registry.reservations(client.identity.id)
        given = [reservation.address for reservation in had if reservation.derived]
        last: Refusal | None = None
        for address in self.candidates(undecided, given):
            grant = grant_of(client.identity, address, undecided.settings, undecided.judge)
            if isinstance(grant, Refusal):
                last = grant
                continue
            holder = await self.holders.at(address)
            if holder is not None and (
                holder.identity != client.identity.id
                or holder.connection == client.id
                or await holder.alive(limits.ALIVE_SECONDS)
            ):
                continue
            claim = await self._claim(undecided, grant, derived=True)
            if isinstance(claim, Refusal):
                last = claim
                if claim.code in _REFUSED_AT_EVERY_ADDRESS:
                    return claim
                continue
            served = await self._serve(undecided, grant, claim)
            if not isinstance(served, Refusal) or served.code != "port_in_use":
                return served
            last = served
        return last or EXHAUSTED

    def candidates(self, undecided: UndecidedForward, given: Sequence[Address]) -> Iterator[Address]:
        """Addresses that the gateway may choose; `given` are those that it has chosen before."""
        rules, identity = undecided.settings.rules, undecided.client.identity
        return candidate_addresses(undecided.request, rules, identity, self._secret, given, undecided.judge)

    async def _claim(self, undecided: UndecidedForward, grant: Grant, *, derived: bool) -> Claim | Refusal:
        client, settings = undecided.client, with_limits(undecided.settings, grant.rule)
        if (too_many := await over_limit_of(grant.rule, self.holders, client, settings)) is not None:
            return too_many
        label = label_of(client.identity, grant.address, settings, derived=derived)
        return await self.claims.take(grant, client.identity, client.network, settings, derived=derived, label=label)

    async def _serve(self, undecided: UndecidedForward, grant: Grant, claim: Claim) -> SshTunnel | Refusal:
        """Put a claimed address into service. If a step fails, give the claim back."""
        client, (host, port) = undecided.client, undecided.bind
        forward = GrantedForward(
            TunnelId(random_token(4)),
            undecided.request,
            (host, grant.address.port if port == 0 else port),
            created=self._clock.now(),
            taken_from=_taken_from(await self.holders.at(grant.address), client.identity.id),
            rule=grant.rule,
        )
        tunnel = SshTunnel(forward, claim, client, client.connection, clock=self._clock, report=self._report)
        try:
            refusal = await self._prepare(tunnel, client, grant, undecided.settings)
        except BaseException:
            await self._undo(tunnel)
            raise
        if refusal is not None:
            await self._undo(tunnel)
            return refusal
        try:
            self._enter(_InService(self, tunnel, client), grant, undecided.settings)
        except BaseException:
            self.close(tunnel, "internal error", unwanted=True)
            raise
        return tunnel

    async def _prepare(
        self, tunnel: SshTunnel, client: TunnelClient, grant: Grant, settings: ForwardSettings
    ) -> Refusal | None:
        """Make the earlier holder give way, and open the port."""
        if (too_late := self._too_late(client)) is not None:
            return too_late
        if (holder := await self.holders.at(grant.address)) is not None:
            await holder.give_way(Taker(client.id, client.identity.id, client.peer))
        refusal = await _listen(tunnel, client.may, grant, settings) or self._too_late(client)
        # the line of the key may have changed since the request, and the policy
        refusal = refusal or request_refusal(client.may, tunnel.forward.request, tunnel.bind, settings.rules)
        return refusal or self._refused_now(client, tunnel.address)

    def _refused_now(self, client: TunnelClient, address: Address) -> Refusal | None:
        """The refusal of a tunnel at `address` by the policy in force."""
        return refusal_now(client, address, self._in_force.forwards, self._clock.now())

    def follow_policy(self, client: TunnelClient) -> None:
        """Close the tunnels of a connection that the policy in force does not allow."""
        for tunnel in list(self.of_connection(client.id).values()):
            if (refusal := self._refused_now(client, tunnel.address)) is not None:
                by = f" (rule {rule.name!r} had allowed it)" if (rule := tunnel.forward.rule) else ""
                self.take_away(tunnel, f"{tunnel.address} was closed: {refusal.public}{by}")

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
            **({"rule": str(grant.rule)} if grant.rule else {}),
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


def _parsed(client: TunnelClient, host: bytes, port: int, settings: ForwardSettings) -> ForwardRequest | Refusal:
    """The request, or the refusal of all such requests. Raises InvalidInput."""
    if port == SOCKET_PORT:
        return parse_socket(host, client.identity, settings.rules)
    off = client.may.forwards_refusal() or check_on(port, settings.web, settings.rules)
    return off or parse_forward(host, port, settings.web, settings.rules)


def _taken_from(holder: AddressHolder | None, identity: IdentityId) -> str:
    """For the owner: the connection that gives way, if it is one of the same identity."""
    if holder is None or holder.identity != identity:
        return ""
    silent = f", which was silent for {holder.silent_for:.0f} s" if holder.silent_for else ""
    return f"taken over from your connection from {holder.peer}{silent}"


def _duplicate(request: ForwardRequest, port: int) -> str:
    """The refusal of a second equal request: stock ssh would send the visitors of both to the first target."""
    better = kind_of(request.kind).duplicate_hint(request, port)
    return f"ssh would send both -R {port} to the first target: write {better}"


async def _listen(tunnel: SshTunnel, may: Allowance, grant: Grant, settings: ForwardSettings) -> Refusal | None:
    """Open the port of an address that has one of its own."""
    address, request = tunnel.address, tunnel.forward.request
    opening = kind_of(address.kind).opening(address, request, settings.rules, may.listening)
    if opening is None or isinstance(opening, Refusal):
        return opening
    listener = await settings.ports.listen(tunnel, grant, opening)
    if isinstance(listener, Refusal):
        return listener
    tunnel.listening(opening, listener)
    return None
