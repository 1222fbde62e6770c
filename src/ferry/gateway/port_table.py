"""The port table: which port is whose, for which purpose, and since when it is up or down."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ferry.console.models import PortInfo, moment
from ferry.kinds import kind_of
from ferry.kinds.rules import ForwardRules
from ferry.names import IdentityId
from ferry.policy.port_lines import PortLine
from ferry.registry.contract import NEVER, Reservation
from ferry.registry.rules import kept_until
from ferry.store.machines import Known


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


@dataclass(frozen=True, slots=True)
class PortTable:
    """The facts that it is made of."""

    reservations: Sequence[Reservation]
    lines: Mapping[int, Sequence[PortLine]]
    up: Mapping[int, Up]
    known: Known
    rules: ForwardRules
    now: float
    """Seconds since the epoch."""

    def rows(self) -> list[PortInfo]:
        """One row for each port and holder, in the order of the ports."""
        rows = [*self._reserved(), *self._of_lines(), *self._up_only()]
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
            lines = (line for line in self.lines.get(port, ()) if self._owner(line) == one.owner)
            yield PortInfo(
                port=port,
                label=one.label or self.rules.purpose_of(port),
                host=self._host(one.owner),
                holder=one.owner_name,
                state="up" if up else "down" if seen else "never seen",
                since=moment(up.since if up else one.last_used if seen else one.created),
                kept_until=None if up or until == math.inf else moment(until),
                kept_for_good=until == math.inf,
                lines=_places(lines),
            )

    def _of_lines(self) -> Iterator[PortInfo]:
        """The ports of lines whose holders have not asked for them yet."""
        reserved = {(one.address.port, one.owner) for one in self._in_force()}
        for port, lines in self.lines.items():
            if self.rules.range_of(port) is None:
                continue
            for line in lines:
                owner = self._owner(line)
                if owner is None or (port, owner) not in reserved:
                    yield PortInfo(
                        port=port,
                        label=self.rules.purpose_of(port),
                        host=line.line.name if owner is None else self._host(owner),
                        holder=line.holder,
                        state="never seen",
                        since=None,
                        kept_until=None,
                        kept_for_good=True,
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
                    since=moment(up.since),
                    kept_until=None,
                    kept_for_good=False,
                    lines=[],
                )

    def _owner(self, line: PortLine) -> IdentityId | None:
        return self.known.identity_of(line.fingerprint, line.line.name)

    def _host(self, owner: IdentityId) -> str | None:
        """What its machine calls itself; else the name of its key."""
        machine = self.known.machines.get(owner)
        return None if machine is None else machine.host or machine.name


def _places(lines: Iterable[PortLine]) -> list[str]:
    return [f"{one.line.file}, line {one.line.number}" for one in lines]
