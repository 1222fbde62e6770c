"""Decides what a `tcpip-forward` request gets: which address, under which claim, opened where. `Tunnels` opens that, and
`ssh gw explain` only tells it: both pass their last step to the one walk, `ForwardDecisions.decide`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple, TypeVar

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.kinds import check_on, kind_of, parse_forward, parse_socket
from ferry.kinds.base import ForwardRequest, Opening
from ferry.limiters.flapping import FlapGuard
from ferry.names import Address, ConnectionId
from ferry.policy.forwards import (
    candidate_addresses,
    check_counts,
    count_beside,
    limited_by,
    login_name_address,
    request_refusal,
    requested,
)
from ferry.policy.grants import Grant
from ferry.policy.judge import Judge
from ferry.policy.rules import Rule
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.registry.contract import Registry, StoreUnavailable, TakenBy
from ferry.registry.holders import AddressHolder, Holders

from .claims import ClaimRequest, code_of
from .forward_settings import ForwardSettings, ForwardsInForce
from .judging import judge_of, with_limits
from .kept_ports import grant_of, label_of, naming_own_ports
from .notices import store_down
from .tunnel import SshTunnel
from .tunnel_client import TunnelClient

T = TypeVar("T")

_AT_THIS_ADDRESS: Final = frozenset(
    {"port_in_use", *(code_of(reason) for reason in (TakenBy.RESERVED, TakenBy.LIVE, TakenBy.RESTING))}
)
"""Codes of refusals in the last step that another address may not get."""
_EXHAUSTED: Final = Refusal("every address that could be given is in use: ask for one by name", code="exhausted")


class UndecidedForward(NamedTuple):
    """One request that is being decided, with the settings that decide."""

    client: TunnelClient
    request: ForwardRequest
    bind: tuple[bytes, int]
    settings: ForwardSettings
    judge: Judge | None
    """The operator's policy for the client."""
    held: Mapping[Address, Rule | None]
    """The addresses of its identity's tunnels, each with the rule whose limit it counts for."""


class PermittedForward(NamedTuple):
    """A request at one address where everything allows it but the registry and the port, which the last step asks."""

    client: TunnelClient
    request: ForwardRequest
    bind: tuple[bytes, int]
    claim: ClaimRequest
    opening: Opening | None
    """The port or the socket to open."""
    holder: AddressHolder | None
    """The tunnel that would give way."""

    @property
    def grant(self) -> Grant:
        return self.claim.grant

    @property
    def settings(self) -> ForwardSettings:
        return self.claim.settings


class ForwardDecisions:
    """Decides the forwards of one worker. It changes nothing: the last step does."""

    def __init__(
        self,
        *,
        registry: Registry,
        clock: Clock,
        secret: bytes,
        in_force: ForwardsInForce,
        holders: Holders,
        flaps: FlapGuard,
        of_connection: Callable[[ConnectionId], Mapping[tuple[bytes, int], SshTunnel]],
        too_late: Callable[[TunnelClient], Refusal | None],
    ) -> None:
        """`secret` is for names and ports that the gateway chooses. `flaps` counts takeovers. `of_connection` gives the tunnels
        of a connection, by host and port of the request. `too_late` says why nothing may open for a client any more."""
        self._registry = registry
        self._clock = clock
        self._secret = secret
        self._in_force = in_force
        self._holders = holders
        self._flaps = flaps
        self._of_connection = of_connection
        self._too_late = too_late

    async def decide(
        self,
        client: TunnelClient,
        host: bytes,
        port: int,
        last_step: Callable[[PermittedForward], Awaitable[T | Refusal]],
    ) -> T | Refusal:
        """What `last_step` makes of the first address where it refuses nothing, or the refusal. Where the gateway chooses, it
        is called for one address after another."""
        if (too_late := self._too_late(client)) is not None:
            return too_late
        try:
            # no other forward of the identity opens between the count of its tunnels and the entry of this one
            async with self._holders.claiming(client.identity.id):
                asked = await self._asked(client, host, port)
                if isinstance(asked, Refusal):
                    return asked
                undecided, address = asked
                if address is None:
                    return await self._choose(undecided, last_step)
                decided = await self._requested(undecided, address, last_step)
                if isinstance(decided, Refusal):
                    return await naming_own_ports(self._registry, client, address, decided, undecided.settings)
                return decided
        except InvalidInput as error:
            return Refusal.of_input(error)
        except StoreUnavailable as error:
            return Refusal(store_down(error), code="store", detail=str(error), retry_after=60)

    async def _asked(
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
        here = len(self._of_connection(client.id))
        if (too_many := _over_limit(settings, on_connection=here)) is not None:
            return too_many
        held = limited_by(await self._holders.addresses_of(client.identity.id), settings.rules, judge)
        undecided = UndecidedForward(client, request, (host, port), settings, judge, held)
        if undecided.bind in self._of_connection(client.id):  # never with port 0: a held tunnel has a number
            return Refusal(_duplicate(request, port), code="duplicate")
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

    async def _owned_login_name(self, undecided: UndecidedForward) -> Address | None:
        """`blog@gw` means blog if it is theirs already: ssh always sends a login name, so that can never claim one."""
        rules = undecided.settings.rules
        address = login_name_address(undecided.client.user, undecided.request.kind, rules)
        if address is None:
            return None
        reservation = await self._registry.reservation(address, now=self._clock.now(), keep=rules.keep)
        return address if reservation is not None and reservation.owner == undecided.client.identity.id else None

    async def _requested(
        self,
        undecided: UndecidedForward,
        address: Address,
        last_step: Callable[[PermittedForward], Awaitable[T | Refusal]],
    ) -> T | Refusal:
        permitted = await self._permitted(undecided, address, derived=False)
        if isinstance(permitted, Refusal):
            return permitted
        holder, client = permitted.holder, undecided.client
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
        return await last_step(permitted)

    async def _choose(
        self, undecided: UndecidedForward, last_step: Callable[[PermittedForward], Awaitable[T | Refusal]]
    ) -> T | Refusal:
        """Choose an address for this identity: one that it had before, else the next derived one."""
        client, settings = undecided.client, undecided.settings
        had = [] if client.identity.anonymous else await self._registry.reservations(client.identity.id)
        given = [reservation.address for reservation in had if reservation.derived]
        last: Refusal | None = None
        for address in candidate_addresses(
            undecided.request, settings.rules, client.identity, self._secret, given, undecided.judge
        ):
            permitted = await self._permitted(undecided, address, derived=True)
            if isinstance(permitted, Refusal):
                last = permitted
                continue
            holder = permitted.holder
            if holder is not None and (
                holder.identity != client.identity.id
                or holder.connection == client.id
                or await holder.alive(limits.ALIVE_SECONDS)
            ):
                continue
            decided = await last_step(permitted)
            if not isinstance(decided, Refusal) or decided.code not in _AT_THIS_ADDRESS:
                return decided
            last = decided
        return last or _EXHAUSTED

    async def _permitted(
        self, undecided: UndecidedForward, address: Address, *, derived: bool
    ) -> PermittedForward | Refusal:
        """The request at `address`, if the settings, the policy and the limit of the rule that decides allow it."""
        client, request, bind, settings, judge, held = undecided
        grant = grant_of(client.identity, address, settings, judge)
        if isinstance(grant, Refusal):
            return grant
        settings = with_limits(settings, grant.rule)
        too_many = _over_limit(settings, grant.rule, of_identity=count_beside(address, held, grant.rule))
        if too_many is not None:
            return too_many
        opening = kind_of(address.kind).opening(address, request, settings.rules, client.may.listening)
        if isinstance(opening, Refusal):
            return opening
        label = label_of(client.identity, address, settings, derived=derived)
        claim = ClaimRequest(grant, client.identity, client.network, settings, derived, label)
        return PermittedForward(client, request, bind, claim, opening, await self._holders.at(address))


def _parsed(client: TunnelClient, host: bytes, port: int, settings: ForwardSettings) -> ForwardRequest | Refusal:
    """The request, or the refusal of all such requests. Raises InvalidInput."""
    if port == SOCKET_PORT:
        return parse_socket(host, client.identity, settings.rules)
    off = client.may.forwards_refusal() or check_on(port, settings.web, settings.rules)
    return off or parse_forward(host, port, settings.web, settings.rules)


def _over_limit(
    settings: ForwardSettings, rule: Rule | None = None, *, on_connection: int = 0, of_identity: int = 0
) -> Refusal | None:
    """As `check_counts`."""
    return check_counts(
        settings.rules, rule, on_connection=on_connection, of_identity=of_identity, gateway=settings.urls.gateway
    )


def _duplicate(request: ForwardRequest, port: int) -> str:
    """The refusal of a second equal request: stock ssh would send the visitors of both to the first target."""
    better = kind_of(request.kind).duplicate_hint(request, port)
    return f"ssh would send both -R {port} to the first target: write {better}"
