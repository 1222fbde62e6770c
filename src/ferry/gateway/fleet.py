"""The keys of a fleet, for the operator: with a gateway that runs, or in the state folder of one that has stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ferry.clock import Clock
from ferry.console.models import (
    AllowedTarget,
    EnrolledInfo,
    EnrolRequest,
    ForgetRequest,
    ForgottenInfo,
    GivenPort,
    HeldAddress,
    KeyInfo,
    KeyRules,
    MissingRule,
    ReplacedInfo,
    ReplaceRequest,
    RuleInfo,
    RulesQuestion,
    moment,
)
from ferry.errors import InvalidInput
from ferry.hostnames import Urls
from ferry.kinds.rules import ForwardRules, Purpose
from ferry.names import Fingerprint, IdentityId, parse_label, printable
from ferry.policy.port_lines import PortLines
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Rule
from ferry.policy.standing import NOWHERE, Newcomer, places_of, standing_of
from ferry.registry.contract import Registry
from ferry.report import Report
from ferry.store.machines import Held, Known, NewKey, Replaced, Wanted


class FleetStore(Protocol):
    """The identities (`ferry.store.machines.MachineStore`)."""

    async def known(self) -> Known: ...
    async def enrol(self, name: str, key: NewKey, wanted: Sequence[Wanted], now: float) -> dict[str, int]: ...
    async def replace(self, old: Fingerprint, name: str | None, key: NewKey, now: float) -> Replaced: ...
    async def forget(self, keys: Sequence[Fingerprint], name: str | None, *, keep: bool) -> list[Held] | None: ...


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The operator's policy."""

    file: str
    book: Rulebook | None
    """None: the file cannot be put in force."""
    error: str = ""
    """Why the file as it is now is not in force."""


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """The settings in force that it depends on."""

    rules: ForwardRules
    lines: PortLines
    urls: Urls
    policy: PolicyInForce | None = None
    """None: there is no policy file."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Implements `console.state.FleetState`."""

    store: FleetStore
    registry: Registry
    in_force: Callable[[], FleetSettings]
    clock: Clock
    report: Report

    async def keys(self) -> list[KeyInfo]:
        known = await self.store.known()
        held: dict[IdentityId, list[HeldAddress]] = {}
        for one in await self.registry.reservations(None):
            held.setdefault(one.owner, []).append(_shown(Held(one.address, one.label)))
        return [
            KeyInfo(
                fingerprint=fingerprint,
                name=known.machines[key.identity].name,
                entered=key.entered,
                host=known.machines[key.identity].host,
                last_seen=None if key.last_seen is None else moment(key.last_seen),
                held=held.get(key.identity, []),
            )
            for fingerprint, key in known.keys.items()
        ]

    async def enrol(self, wanted: EnrolRequest) -> EnrolledInfo:
        settings, name = self.in_force(), parse_label(wanted.name, "name")
        asked = {label: _purpose(label, settings.rules) for label in wanted.listen}
        key = Fingerprint(wanted.fingerprint)
        others = frozenset(
            port
            for named in (settings.lines.ports(), settings.lines.ports_in_vain())
            for port, lines in named.items()
            if any(line.fingerprint != key and line.line.name != name for line in lines)
        )
        ports = await self.store.enrol(
            name,
            NewKey(key, wanted.algorithm, wanted.unnamed),
            [Wanted(label, of.first, of.last, others) for label, of in asked.items()],
            self.clock.now(),
        )
        self.report("keys.entered", identity=name, key=key, ports=" ".join(map(str, ports.values())))
        return EnrolledInfo(
            ports=[
                GivenPort(label=label, port=port, loopback=settings.rules.on_loopback(port))
                for label, port in ports.items()
            ],
            gateway=settings.urls.domain.name,
            ssh_port=settings.urls.ssh_port,
        )

    async def rules(self, asked: RulesQuestion) -> KeyRules | None:
        settings, key, name = self.in_force(), Fingerprint(asked.key), asked.name
        if (policy := settings.policy) is None:
            return None
        if name is None:
            known = await self.store.known()
            name = known.machines[known.keys[key].identity].name if key in known.keys else None
        reached = [port for port in asked.ports if settings.rules.on_loopback(port)]
        ssh = [port for port in reached if settings.rules.may_be_sshd(port)]
        who = Newcomer(name, key, asked.ports, reached, ssh)
        standing = NOWHERE if policy.book is None else standing_of(policy.book, who, self.clock.now())
        return KeyRules(
            who=who.who,
            file=policy.file,
            error=policy.error,
            in_force=policy.book is not None,
            rules=[_rule(rule) for rule in standing.rules],
            allowed=[
                AllowedTarget(
                    act=each.aim.act.value,
                    target=each.aim.target,
                    port=each.aim.port,
                    rules=[_rule(rule) for rule in each.rules],
                )
                for each in standing.allowed
            ],
            missing=[MissingRule(**each._asdict()) for each in standing.missing],
        )

    async def replace(self, wanted: ReplaceRequest) -> ReplacedInfo:
        done = await self.store.replace(
            Fingerprint(wanted.old), wanted.name, NewKey(Fingerprint(wanted.new), wanted.algorithm), self.clock.now()
        )
        self.report("keys.replaced", identity=done.name or wanted.new, old=wanted.old, key=wanted.new)
        policy = self.in_force().policy
        named_in = (
            places_of(policy.book, Fingerprint(wanted.old)) if policy is not None and policy.book is not None else []
        )
        return ReplacedInfo(name=done.name, held=[_shown(one) for one in done.held], named_in=named_in)

    async def forget(self, wanted: ForgetRequest) -> ForgottenInfo:
        keys = [Fingerprint(key) for key in wanted.keys]
        held = await self.store.forget(keys, wanted.name, keep=wanted.keep)
        freed = "" if wanted.keep else " ".join(one.address.key for one in held or [])
        self.report("keys.forgotten", keys=wanted.keys, freed=freed)
        return ForgottenInfo(held=[_shown(one) for one in held or []], others=held is None)


def _purpose(label: str, rules: ForwardRules) -> Purpose:
    """The purpose that a label begins with. Raises InvalidInput."""
    wanted, colon, more = label.partition(":")
    found = next((one for one in rules.purposes if one.name == wanted), None)
    if found is None:
        known = ", ".join(one.name for one in rules.purposes) or "none: write [tcp.purposes] in the configuration"
        raise InvalidInput(f"there are no ports for {printable(wanted, 60)!r}: the purposes are {known}")
    if colon:
        parse_label(more, "label")
    return found


def _rule(rule: Rule) -> RuleInfo:
    return RuleInfo(
        name=rule.name,
        file=rule.file,
        line=rule.line,
        who=rule.who.shown,
        only_from=None if rule.origins is None else str(rule.origins),
        until=None if rule.until is None else moment(rule.until),
    )


def _shown(held: Held) -> HeldAddress:
    return HeldAddress(address=str(held.address), label=held.label, port=held.address.port or None)
