"""All visitors' connections, over all edges.

While descriptors are short, a newcomer displaces the visitor that deserves its connection least
(`ferry.limiters.shortage`). If no visitor has to go, a source with few connections still gets in until accepting stops;
a source that holds its share is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ferry.clock import Clock
from ferry.limiters.shortage import Holder, Shortage, Standing
from ferry.limiters.sources import ExemptNetworks

from .descriptors import DescriptorGate

Group = Callable[[], Iterable["Connected"]]
"""The visitors of one edge or port, now."""


class Connected(Holder, Protocol):
    """A visitor with a connection."""

    def disconnect(self) -> None:
        """End the connection at once: another visitor needs its descriptor."""
        ...


_log = logging.getLogger("ferry.edge")
_NOBODY: Final = "0.0.0.0"  # no connection comes from there


class Connections:
    """One per worker; all edges share it. Without a `gate` it admits everybody."""

    def __init__(self, gate: DescriptorGate | None, exempt: ExemptNetworks, clock: Clock) -> None:
        self.gate = gate
        self._exempt = exempt
        self._clock = clock
        self._groups: dict[Group, None] = {}
        self._shortage: Shortage[Connected] | None = None
        if gate is not None:
            gate.make_room_by(self.make_room)

    def add(self, group: Group) -> None:
        """An edge or a port has opened."""
        self._groups[group] = None

    def discard(self, group: Group) -> None:
        """The edge or port has closed, and its visitors have left."""
        self._groups.pop(group, None)

    def admit(self, newcomer: Connected, transport: asyncio.BaseTransport) -> bool:
        """Whether `newcomer` may stay; it is in none of the groups yet. If it may, call `left` when it ends."""
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
                self._disconnect(least)
            elif shortage.holds_its_share(newcomer.host, now):
                return False
        gate.admitted()
        shortage.add(newcomer, Standing.SILENT, now)
        return True

    def _short(self, now: float) -> Shortage[Connected]:
        if self._shortage is None:
            there = [visitor for group in self._groups for visitor in group()]
            self._shortage = Shortage(there, self._exempt, len(there), now)
        return self._shortage

    def make_room(self, wanted: int) -> None:
        """Disconnect up to `wanted` visitors, as if a newcomer without connections displaced each. While accepting has
        stopped no newcomer comes, and sources with many connections would keep them. A source's last one stays."""
        now = self._clock.monotonic()
        shortage = self._short(now)
        for _ in range(wanted):
            least = shortage.least_deserving(_NOBODY, now)
            if least is None or shortage.stuck(least.host) < 2:
                return
            self._disconnect(least)

    def _disconnect(self, visitor: Connected) -> None:
        self._gone(visitor)
        try:
            visitor.disconnect()
        except Exception:  # neither the newcomer nor the others to disconnect must notice
            _log.exception("could not disconnect a visitor")

    def left(self, visitor: Connected) -> None:
        """The visitor's connection has ended."""
        self._gone(visitor)

    def _gone(self, visitor: Connected) -> None:
        if self._shortage is not None and self._shortage.remove(visitor):
            assert self.gate is not None
            self.gate.freed()
