"""Which addresses are refused for a while, because too many log-ins from there have failed (sshd: PerSourcePenalties).

Each offence adds seconds to an address (IPv4) or /64 (IPv6); they run off by themselves. At
`limits.PENALTY_THRESHOLD_SECONDS` the address is blocked until they have run off, `limits.PENALTY_MAX_SECONDS` at most.
Being turned away while blocked adds nothing, and neither does being refused for want of a place: it costs us next to
nothing, and honest clients behind one NAT get it after each restart. A log-in that fails in the slow lane adds what any does.

**The slow lane.** Behind a blocked address there may be others: an office, a carrier's NAT. Their keys are not known
when the connection is accepted, so one handshake at a time may go on, `limits.LANE_PACE_SECONDS` apart and
`limits.LANE_SECONDS` long. Whoever proves a key that the gateway's access rules accept comes in; no other does.
Somebody who tries a hundred times a second from the same address still takes the lane most of the time.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry import limits

from .sources import ExemptNetworks, source_of


class Offence(enum.Enum):
    """What an address is penalised for."""

    NOTHING_OFFERED = "left before a log-in"
    GARBAGE = "sent what is not SSH"
    KEYS_REFUSED = "offered no acceptable key"
    NEVER_ENDED = "did not end its log-in in time"


SECONDS: Final[Mapping[Offence, float]] = MappingProxyType(
    {
        Offence.NOTHING_OFFERED: limits.PENALTY_NOTHING_SECONDS,
        Offence.GARBAGE: limits.PENALTY_GARBAGE_SECONDS,
        Offence.KEYS_REFUSED: limits.PENALTY_KEYS_SECONDS,
        Offence.NEVER_ENDED: limits.PENALTY_GRACE_SECONDS,
    }
)


@dataclass(slots=True)
class _Source:
    until: float
    """When all its seconds have run off (monotonic)."""
    why: Offence
    blocked: bool = False
    lane_taken: bool = False
    lane_opens: float = 0.0


@dataclass(frozen=True, slots=True)
class Blocked:
    """An address that is blocked now."""

    source: str
    """`203.0.113.7`, or `2001:db8::/64`."""
    seconds: float
    """How much longer."""
    why: Offence
    """The last offence."""


class Penalties:
    """The table of offenders: `most` at most, of which the one with the least time left goes first.

    Times are monotonic seconds. Every call takes O(log n).
    """

    def __init__(
        self, exempt: ExemptNetworks | None = None, *, on: bool = True, most: int = limits.PENALTY_SOURCES
    ) -> None:
        self._exempt = ExemptNetworks() if exempt is None else exempt
        self._on = on
        self._most = most
        self._sources: dict[str, _Source] = {}
        self._ends: list[tuple[float, str]] = []
        """A heap of (until, source); an entry whose time is not the source's own any more is out of date."""

    def __len__(self) -> int:
        return len(self._sources)

    def offended(self, host: str, offence: Offence, now: float) -> Blocked | None:
        """Add to what `host` has. Returns it if it is blocked by this, and was not before."""
        source = self._exempt.source_of(host)
        if not self._on or not source:
            return None
        self._forget_expired(now)
        entry = self._sources.get(source)
        if entry is None:
            entry = self._sources[source] = _Source(now, offence)
        entry.until = min(max(entry.until, now) + SECONDS[offence], now + limits.PENALTY_MAX_SECONDS)
        entry.why = offence
        heapq.heappush(self._ends, (entry.until, source))
        newly = not entry.blocked and entry.until - now >= limits.PENALTY_THRESHOLD_SECONDS
        entry.blocked = entry.blocked or newly
        while len(self._sources) > self._most:
            self._forget_next()
        if len(self._ends) > 2 * self._most + 64:
            self._ends = [(kept.until, name) for name, kept in self._sources.items()]
            heapq.heapify(self._ends)
        return Blocked(source, entry.until - now, offence) if newly and source in self._sources else None

    def blocked(self, host: str, now: float) -> float:
        """Seconds for which `host` stays blocked; 0 when it is not."""
        entry = self._sources.get(source_of(host)) if self._sources else None
        return max(0.0, entry.until - now) if entry is not None and entry.blocked else 0.0

    def enter_lane(self, host: str, now: float) -> bool:
        """Whether a connection from `host`, which is blocked, may use its slow lane; then `leave_lane` follows."""
        entry = self._sources.get(source_of(host))
        if entry is None or entry.lane_taken or now < entry.lane_opens:
            return False
        entry.lane_taken, entry.lane_opens = True, now + limits.LANE_PACE_SECONDS
        return True

    def leave_lane(self, host: str) -> None:
        """The handshake in the slow lane is over."""
        if (entry := self._sources.get(source_of(host))) is not None:
            entry.lane_taken = False

    def lift(self, host: str) -> bool:
        """Forget what `host` (an address, or a /64 as `listed` has it) has done. False if it was not blocked."""
        entry = self._sources.pop(source_of(host.partition("/")[0]), None)
        return entry is not None and entry.blocked

    def listed(self, now: float) -> list[Blocked]:
        """Who is blocked now, the longest first."""
        self._forget_expired(now)
        found = [Blocked(name, e.until - now, e.why) for name, e in self._sources.items() if e.blocked]
        return sorted(found, key=lambda one: -one.seconds)

    def _forget_expired(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            self._forget_next()

    def _forget_next(self) -> None:
        until, source = heapq.heappop(self._ends)
        entry = self._sources.get(source)
        if entry is not None and entry.until == until:
            del self._sources[source]
