"""Every visitor's connection, over all edges: where descriptors are short, a newcomer gets that of whoever deserves it
least (`ferry.limiters.shortage`). Where nobody has to go, those who hold few are let in up to where accepting stops, and
the others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ferry.clock import Clock
from ferry.limiters.shortage import Holder, Shortage, Standing
from ferry.limiters.sources import ExemptNetworks

from .descriptors import DescriptorGate

Group = Callable[[], Iterable["Connected"]]
"""The visitors of one edge or port, now."""


class Connected(Holder, Protocol):
    """Whoever has a connection."""

    def disconnect(self) -> None:
        """End it at once: its descriptor is for another visitor."""
        ...


_NOBODY: Final = "0.0.0.0"  # nobody connects from there


class Connections:
    """Shared by all edges of a worker. Without a `gate` everybody is admitted."""

    def __init__(self, gate: DescriptorGate | None, exempt: ExemptNetworks, clock: Clock) -> None:
        self.gate = gate
        self._exempt = exempt
        self._clock = clock
        self._groups: dict[Group, None] = {}
        self._shortage: Shortage[Connected] | None = None
        if gate is not None:
            gate.make_room = self._make_room

    def add(self, group: Group) -> None:
        """An edge, or a port, has opened."""
        self._groups[group] = None

    def discard(self, group: Group) -> None:
        """It has closed, and its visitors have left."""
        self._groups.pop(group, None)

    def admit(self, newcomer: Connected, transport: asyncio.BaseTransport) -> bool:
        """Whether `newcomer`, which is in none of the groups yet, may stay. Each one that may is told of by `left`."""
        gate = self.gate
        if gate is None:
            return True
        gate.seen_on(transport)
        if not gate.short:
            self._shortage = None
            return True
        now = self._clock.monotonic()
        shortage = self._short(now)
        if gate.excess > 0:
            least = shortage.least_deserving(newcomer.host, now)
            if least is not None:
                self._gone(least)
                least.disconnect()
            elif shortage.holds_its_share(newcomer.host, now):
                return False
        gate.excess += 1
        shortage.add(newcomer, Standing.SILENT, now)
        return True

    def _short(self, now: float) -> Shortage[Connected]:
        if self._shortage is None:
            there = [visitor for group in self._groups for visitor in group()]
            self._shortage = Shortage(there, self._exempt, len(there), now)
        return self._shortage

    def _make_room(self, wanted: int) -> None:
        """Part with so many, as if each went for a newcomer who holds nothing: those who hold much would sit there for as
        long as nobody comes. Who holds one place keeps it."""
        now = self._clock.monotonic()
        shortage = self._short(now)
        for _ in range(wanted):
            least = shortage.least_deserving(_NOBODY, now)
            if least is None or shortage.stuck(least.host) < 2:
                return
            self._gone(least)
            least.disconnect()

    def left(self, visitor: Connected) -> None:
        """Its connection has ended."""
        self._gone(visitor)

    def _gone(self, visitor: Connected) -> None:
        if self._shortage is not None and self._shortage.remove(visitor):
            assert self.gate is not None
            self.gate.excess -= 1
