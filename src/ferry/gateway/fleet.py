"""The keys of a fleet, for the operator: with a gateway that runs, or in the state folder of one that has stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ferry.clock import Clock
from ferry.console.models import (
    EnrolledInfo,
    EnrolRequest,
    ForgetRequest,
    ForgottenInfo,
    GivenPort,
    HeldAddress,
    KeyInfo,
    ReplacedInfo,
    ReplaceRequest,
    moment,
)
from ferry.errors import InvalidInput
from ferry.hostnames import Urls
from ferry.kinds.rules import ForwardRules, Purpose
from ferry.names import Fingerprint, IdentityId, parse_label, printable
from ferry.policy.port_lines import PortLines
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
class FleetSettings:
    """The settings in force that it depends on."""

    rules: ForwardRules
    lines: PortLines
    urls: Urls


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
            NewKey(key, wanted.algorithm),
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

    async def replace(self, wanted: ReplaceRequest) -> ReplacedInfo:
        done = await self.store.replace(
            Fingerprint(wanted.old), wanted.name, NewKey(Fingerprint(wanted.new), wanted.algorithm), self.clock.now()
        )
        self.report("keys.replaced", identity=done.name or wanted.new, old=wanted.old, key=wanted.new)
        return ReplacedInfo(name=done.name, held=[_shown(one) for one in done.held])

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


def _shown(held: Held) -> HeldAddress:
    return HeldAddress(address=str(held.address), label=held.label, port=held.address.port or None)
