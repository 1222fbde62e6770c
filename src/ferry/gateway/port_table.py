"""The port table: which port is whose, for which purpose, and since when it is up or down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from ferry.console.models import PortInfo, moment
from ferry.kinds import kind_of
from ferry.kinds.rules import ForwardRules
from ferry.names import Fingerprint, IdentityId
from ferry.policy.aims import publish_port
from ferry.policy.port_lines import PortLine, PortLines
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.registry.contract import NEVER, Reservation
from ferry.registry.rules import kept_until
from ferry.store.machines import Known

NO_RULE: Final = "no rule"


class KnownMachines(Protocol):
    """What is known of identities, for the operator's lists."""

    async def known(self) -> Known:
        """All identities and keys. Raises StoreUnavailable."""
        ...


class Up(NamedTuple):
    """A tunnel that serves a port now."""

    owner: IdentityId
    owner_name: str
    since: float
    """Seconds since the epoch."""
    bound: tuple[str, ...] = ()
    """The addresses that it listens on, without the port."""


@dataclass(frozen=True, slots=True)
class PortTable:
    """The facts that it is made of."""

    reservations: Sequence[Reservation]
    lines: PortLines
    up: Mapping[int, Up]
    known: Known
    rules: ForwardRules
    now: float
    """Seconds since the epoch."""
    book: Rulebook | None = None
    """The operator's policy; None without a policy file."""
    _keys: dict[IdentityId, list[Fingerprint]] = field(default_factory=dict, init=False)
    """The keys of each identity."""

    def __post_init__(self) -> None:
        for key, known in self.known.keys.items():
            self._keys.setdefault(known.identity, []).append(key)

    def rows(self) -> list[PortInfo]:
        """One row for each port and holder, in the order of the ports."""
        rows = [*self._reserved(), *self._of_lines(self.lines.ports()), *self._up_only()]
        rows += self._of_lines(self.lines.ports_in_vain())
        return sorted(rows, key=lambda row: (row.port, row.state != "up", row.holder))

    def _in_force(self) -> Iterator[Reservation]:
        for one in self.reservations:
            if kind_of(one.address.kind).is_port and (
                self._up_of(one) is not None or kept_until(one, keep=self.rules.keep) >= self.now
            ):
                yield one

    def _up_of(self, one: Reservation) -> Up | None:
        up = self.up.get(one.address.port)
        return up if up is not None and up.owner == one.owner else None

    def _reserved(self) -> Iterator[PortInfo]:
        for one in self._in_force():
            port, up = one.address.port, self._up_of(one)
            seen = one.last_used != NEVER
            until = kept_until(one, keep=self.rules.keep)
            lines = self._lines(self.lines.ports(), port, one.owner)
            vain = [] if lines or up else self._lines(self.lines.ports_in_vain(), port, one.owner)
            yield PortInfo(
                port=port,
                label=one.label or self.rules.purpose_of(port),
                host=self._host(one.owner),
                holder=one.owner_name,
                state="up" if up else vain[0].in_vain if vain else self._idle(one.owner, port, seen=seen),
                comment=self._comment(one.owner),
                bound=list(up.bound) if up else [],
                since=moment(up.since if up else one.last_used if seen else one.created),
                kept_until=None if up or until == math.inf else moment(until),
                kept_for_good=until == math.inf,
                lines=_places([*lines, *vain]),
            )

    def _lines(self, named: Mapping[int, Sequence[PortLine]], port: int, owner: IdentityId) -> list[PortLine]:
        """Those of an owner that name a port."""
        return [line for line in named.get(port, ()) if self._owner(line) == owner]

    def _of_lines(self, named: Mapping[int, Sequence[PortLine]]) -> Iterator[PortInfo]:
        """The ports of lines whose holders have not asked for them yet."""
        reserved = {(one.address.port, one.owner) for one in self._in_force()}
        for port, lines in named.items():
            if self.rules.range_of(port) is None:
                continue
            for line in lines:
                owner = self._owner(line)
                if (port, owner) not in reserved:
                    yield PortInfo(
                        port=port,
                        label=self.rules.purpose_of(port),
                        host=line.line.name if owner is None else self._host(owner),
                        holder=line.holder,
                        state=line.in_vain
                        or ("never seen" if self._may_publish(line.line.name, line.fingerprint, port) else NO_RULE),
                        comment=line.line.comment,
                        bound=[],
                        since=None,
                        kept_until=None,
                        kept_for_good=not line.in_vain,
                        lines=_places([line]),
                    )

    def _up_only(self) -> Iterator[PortInfo]:
        """The ports of tunnels without a reservation, such as those of clients without a key."""
        reserved = {one.address.port for one in self._in_force()}
        for port, up in self.up.items():
            if port not in reserved:
                yield PortInfo(
                    port=port,
                    label=self.rules.purpose_of(port),
                    host=self._host(up.owner),
                    holder=up.owner_name,
                    state="up",
                    comment=self._comment(up.owner),
                    bound=list(up.bound),
                    since=moment(up.since),
                    kept_until=None,
                    kept_for_good=False,
                    lines=[],
                )

    def _idle(self, owner: IdentityId, port: int, *, seen: bool) -> str:
        """The state of a reserved port that is not up."""
        name = machine.name if (machine := self.known.machines.get(owner)) is not None else None
        keys: Sequence[Fingerprint | None] = self._keys.get(owner) or [None]
        by_certificate = any(" " in (key or "") for key in keys)  # whom the rules know by its CA, and by no key
        if not by_certificate and not any(self._may_publish(name, key, port) for key in keys):
            return NO_RULE
        return "down" if seen else "never seen"

    def _may_publish(self, name: str | None, key: Fingerprint | None, port: int) -> bool:
        """Whether a rule lets somebody publish a port, from anywhere."""
        asker = Asker(name, key, False, "", "", self.now)
        return self.book is None or self.book.allows_somewhere(asker, publish_port(port))

    def _owner(self, line: PortLine) -> IdentityId | None:
        return self.known.identity_of(line.fingerprint, line.line.name)

    def _host(self, owner: IdentityId) -> str | None:
        """What its machine calls itself; else the name of its key."""
        machine = self.known.machines.get(owner)
        return None if machine is None else machine.host or machine.name

    def _comment(self, owner: IdentityId) -> str:
        """What the key files call the key of an owner without a name."""
        machine = self.known.machines.get(owner)
        if machine is not None and machine.name is not None:
            return ""
        return next(filter(None, map(self.lines.comment_of, self._keys.get(owner, ()))), "")


def _places(lines: Iterable[PortLine]) -> list[str]:
    return [one.line.place for one in lines]
