"""Claims addresses in the registry, and releases them. Everything here may wait for the database.

`Claims.write_late` repeats what the database could not write. On a full disk the gateway serves an address without a
lease if it is reserved for the client that asks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from ferry import limits, tasks
from ferry.clock import Clock
from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.kinds.rules import ForwardRules
from ferry.names import Address, Identity, WorkerId
from ferry.policy.grants import Grant, Use
from ferry.policy.machine_names import is_given
from ferry.policy.port_lines import of_another
from ferry.policy.rules import Rule
from ferry.registry.contract import UNWRITTEN, Claimed, Lease, Registry, StoreUnavailable, Taken, TakenBy, Terms
from ferry.registry.holders import Holders
from ferry.report import Report

from .forward_settings import ForwardSettings, ForwardsInForce

_NOT_RESERVED: Final = "you, or your network today, have as many names as allowed"


@dataclass(slots=True, eq=False)
class Claim:
    """One claimed address."""

    address: Address
    identity: Identity
    network: str
    """The network of the connection that claimed it: an IPv4 /24 or IPv6 /64."""
    derived: bool
    """The gateway chose the address: no claim of the same identity takes it over while its client answers."""
    generation: int
    """The generation of its lease; UNWRITTEN if the database does not have the lease yet."""
    reserved: bool
    made_reservation: bool
    """This claim made the reservation."""
    since: float
    """When it was claimed (monotonic)."""
    used: bool = False
    """At its release: it was up for `limits.NAMES_USED_AFTER_SECONDS`, or had a visitor."""
    label: str | None = None
    """The label under which the address is kept for good; None: it is kept by use."""
    trial_until: float | None = None
    """When the gateway reserves the name (monotonic), if names must first be used."""


class ClaimRequest(NamedTuple):
    """One address to claim, with the settings that decide."""

    grant: Grant
    """To listen at the address."""
    identity: Identity
    network: str
    """As `Claim.network`."""
    settings: ForwardSettings
    derived: bool
    """As `Claim.derived`."""
    label: str | None
    """As `Claim.label`."""


class PendingRelease(NamedTuple):
    """A release that the database could not write: it still has the address as served."""

    address: Address
    generation: int
    reservation_of: Identity | None
    """The owner of the reservation to drop with it, if this generation made one."""
    used: bool
    """As `Claim.used`."""


class ClaimEvents(Protocol):
    """The tunnel at a claimed address, which hears of changes of its claim."""

    def claim_lost(self, why: Refusal, /) -> None:
        """The address belongs to another identity by now."""
        ...

    def reserved(self) -> None:
        """The registry has reserved the name after its trial."""
        ...

    def not_reserved(self, why: str, /) -> None:
        """The trial is over, and the registry has refused to reserve the name."""
        ...


def code_of(reason: TakenBy) -> str:
    """The code of the refusal for a claim that the registry refused."""
    return f"name_{reason.value}"


class Claims:
    """The claims of one worker."""

    def __init__(
        self,
        *,
        registry: Registry,
        worker: WorkerId,
        clock: Clock,
        report: Report,
        in_force: ForwardsInForce,
        holders: Holders,
    ) -> None:
        self._registry = registry
        self._worker = worker
        self._clock = clock
        self._report = report
        self._in_force = in_force
        self._holders = holders
        self._in_service: dict[Claim, ClaimEvents] = {}
        """The claims of tunnels that are in service."""
        self.pending: deque[PendingRelease] = deque(maxlen=limits.PENDING_RELEASES)

    # --- the way into service

    async def take(self, wanted: ClaimRequest) -> Claim | Refusal:
        """Claim an address. Raises StoreUnavailable."""
        grant, identity, network, settings, derived, label = wanted
        grant.require(grant.address, identity.id, Use.LISTEN)
        rules = settings.rules
        outcome = await self._claim(grant.address, identity, network, settings, derived=derived, label=label)
        if isinstance(outcome, Taken):
            return _refusal(grant.address, outcome, settings, grant.rule)
        claim = Claim(
            grant.address,
            identity,
            network,
            derived,
            outcome.lease.generation,
            reserved=outcome.reserved,
            made_reservation=outcome.new,
            since=self._clock.monotonic(),
            label=label,
        )
        if not outcome.reserved and not identity.anonymous:
            claim.trial_until = self._clock.monotonic() + rules.reserve_after
        return claim

    async def would_refuse(self, wanted: ClaimRequest) -> Refusal | None:
        """The refusal that `take` would return now, or None. It claims nothing. Raises StoreUnavailable."""
        grant, identity, network, settings, derived, label = wanted
        terms = _first_terms(grant.address, identity, settings, derived=derived, network=network, label=label)
        try:
            taken = await self._registry.would_refuse(grant.address, identity, now=self._clock.now(), terms=terms)
        except StoreUnavailable as error:
            if not error.readable or not await self._is_reserved_for(identity, grant.address, settings.rules):
                raise
            return None
        return None if taken is None else _refusal(grant.address, taken, settings, grant.rule)

    def enter(self, claim: Claim, events: ClaimEvents) -> None:
        """A tunnel serves the address from now on. It hears of changes of the claim by `events`."""
        self._in_service[claim] = events
        if claim.reserved:
            self._report("name.reserved", address=str(claim.address), identity=claim.identity)

    async def undo(self, claim: Claim) -> None:
        """Give back a claim that never was in service, with the reservation that it made."""
        await self._give_back(claim, forget=claim.made_reservation)

    async def _claim(
        self,
        address: Address,
        identity: Identity,
        network: str,
        settings: ForwardSettings,
        *,
        derived: bool,
        label: str | None,
    ) -> Claimed | Taken:
        terms = _first_terms(address, identity, settings, derived=derived, network=network, label=label)
        now = self._clock.now()
        try:
            return await self._registry.claim(address, identity, self._worker, now=now, terms=terms)
        except StoreUnavailable as error:
            if not error.readable or not await self._is_reserved_for(identity, address, settings.rules):
                raise
            lease = Lease(address, identity.id, self._worker, UNWRITTEN, now, str(identity))
            return Claimed(lease, None, reserved=True)

    async def _is_reserved_for(self, identity: Identity, address: Address, rules: ForwardRules) -> bool:
        """Whether a claim, which cannot be written now, would succeed: nobody else may have the address."""
        reservation = await self._registry.reservation(address, now=self._clock.now(), keep=rules.keep)
        if reservation is None or reservation.owner != identity.id:
            return False
        lease = await self._registry.lookup(address)
        return lease is None or lease.owner == identity.id

    # --- the way out

    def release(self, claim: Claim, *, visited: bool, unwanted: bool) -> None:
        """Release an address that is not served any more. `visited`: it had a visitor. `unwanted`: drop the reservation too,
        if this claim made it."""
        self._in_service.pop(claim, None)
        claim.used = visited or self._clock.monotonic() - claim.since >= limits.NAMES_USED_AFTER_SECONDS
        tasks.spawn(f"release {claim.address}", self._give_back(claim, forget=unwanted and claim.made_reservation))

    async def _give_back(self, claim: Claim, *, forget: bool) -> None:
        """Release a claim now or, if the database takes no writes, later."""
        if claim.generation == UNWRITTEN:
            return  # the database has nothing of it
        pending = PendingRelease(claim.address, claim.generation, claim.identity if forget else None, claim.used)
        try:
            await self._release(pending)
        except StoreUnavailable as error:
            self._report("store.failed", error=str(error))
            self.pending.append(pending)

    async def _release(self, pending: PendingRelease) -> None:
        whose = pending.reservation_of
        if whose is None:
            await self._registry.release(pending.address, pending.generation, now=self._clock.now(), used=pending.used)
        elif await self._registry.undo(pending.address, pending.generation):
            self._report("name.freed", address=str(pending.address), identity=whose)

    # --- late writes

    async def write_late(self) -> None:
        """Once a second: reserve names whose trial is over, write leases and releases that could not be written.

        It waits for the database, and for forwards of the same identity that are being decided.
        """
        now = self._clock.monotonic()
        for claim, events in list(self._in_service.items()):
            if claim not in self._in_service or claim.trial_until is None or now < claim.trial_until:
                continue
            if not await self._reserve(claim, events):
                break
        for claim in [claim for claim in self._in_service if claim.generation == UNWRITTEN]:
            if not await self._write_lease(claim):
                break
        await self._release_late()

    async def _reserve(self, claim: Claim, events: ClaimEvents) -> bool:
        """Reserve a name whose trial is over. False if the database takes no writes."""
        terms = _terms(
            self._in_force.forwards.rules, reserve=True, derived=claim.derived, network=claim.network, label=claim.label
        )
        try:
            reserved = await self._registry.reserve(claim.address, claim.generation, now=self._clock.now(), terms=terms)
        except StoreUnavailable:
            return False  # the store has reported it
        claim.trial_until = None
        if reserved:
            self._report("name.reserved", address=str(claim.address), identity=claim.identity)
        if claim not in self._in_service:
            return True  # its tunnel has closed meanwhile: a refusal says no more than that
        if reserved:
            events.reserved()
        else:
            events.not_reserved(_NOT_RESERVED)
        return True

    async def _write_lease(self, claim: Claim) -> bool:
        """Claim an address that is served without a lease. False if the database still takes no writes."""
        async with self._holders.claiming(claim.identity.id):
            settings = self._in_force.forwards
            if claim not in self._in_service:
                return True
            try:
                outcome = await self._claim(
                    claim.address,
                    claim.identity,
                    claim.network,
                    settings,
                    derived=claim.derived,
                    label=claim.label,
                )
            except StoreUnavailable:
                return False
        events = self._in_service.get(claim)
        if isinstance(outcome, Taken):
            if events is not None:
                events.claim_lost(_refusal(claim.address, outcome, settings))
            return True
        claim.generation = outcome.lease.generation
        if events is None:  # its tunnel closed meanwhile, and released the earlier generation
            await self._give_back(claim, forget=False)
        return claim.generation != UNWRITTEN

    async def _release_late(self) -> None:
        """Write the pending releases: until then only the last owner could have the address again, up to the next start
        of the gateway. A newer claim has another generation, and stays."""
        for _ in range(len(self.pending)):
            pending = self.pending.popleft()
            try:
                if pending.reservation_of is None:
                    await self._release(pending)
                    continue
                async with self._holders.claiming(pending.reservation_of.id):
                    # If the address is served again without a lease, the reservation is all that its owner has.
                    again = await self._holders.at(pending.address) is not None
                    await self._release(pending._replace(reservation_of=None) if again else pending)
            except StoreUnavailable:
                self.pending.appendleft(pending)
                return


def _first_terms(
    address: Address, identity: Identity, settings: ForwardSettings, *, derived: bool, network: str, label: str | None
) -> Terms:
    """The terms of a claim, before any trial."""
    rules = settings.rules
    reserve = not identity.anonymous and rules.reserve_after == 0
    if kind_of(address.kind).is_port:
        given = settings.port_lines.gives(address.port, identity)
    else:
        given = is_given(identity.name, address)
    return replace(_terms(rules, reserve=reserve, derived=derived, network=network, label=label), given=given)


def _terms(rules: ForwardRules, *, reserve: bool, derived: bool, network: str, label: str | None) -> Terms:
    return Terms(
        keep=rules.keep,
        rest=rules.rest,
        reserve=reserve,
        derived=derived,
        max_reservations=rules.reservations_per_identity,
        network=network,
        max_per_network_day=rules.reservations_per_network,
        label=label,
    )


def _refusal(address: Address, taken: Taken, settings: ForwardSettings, rule: Rule | None = None) -> Refusal:
    """The refusal for the client. Only the log gets the owner's name. `rule` is that of the policy which has allowed it."""
    detail = f"{address} refused: {taken.reason.value}, held by {taken.owner_name or 'nobody'}"
    match taken.reason:
        case TakenBy.OVER_LIMIT:
            limit, release = settings.rules.reservations_per_identity, f"ssh {settings.urls.gateway} release"
            held = "1 name or port" if limit == 1 else f"{limit} names and ports"
            by = f" of rule {rule.name!r}" if rule is not None and rule.names is not None else ""
            public = (
                f"you have {held}, which is the limit{by}: give one back with `{release} NAME`, "
                f"or those without use with `{release} --unused`"
            )
            if limit == 0:
                public = "the operator lets you have no names and ports of your own"
        case TakenBy.NETWORK_LIMIT:
            public = "your network has reserved as many names today as it may: come back tomorrow"
        case TakenBy.RESTING:
            public = f"{address} was given up a short while ago and is kept for its last owner: ask for another"
        case _:
            public = of_another(address)
    return Refusal(public, code=code_of(taken.reason), detail=detail)
