"""Blocks addresses for a while after too many failed log-ins (sshd: PerSourcePenalties).

Each offence adds seconds to an IPv4 address or IPv6 /64. The seconds expire with time. At
`limits.PENALTY_THRESHOLD_SECONDS` the address is blocked until they have expired, `limits.PENALTY_MAX_SECONDS` at most.
A refusal adds nothing, whether the address is blocked or no place is free: it costs us next to nothing, and honest
clients behind one NAT meet it after each restart. A failed log-in in the slow lane adds as much as any other.

**The slow lane.** Honest people may share a blocked address: an office, a carrier's NAT. Their keys are not known when
the connection is accepted, so one handshake at a time may go on, `limits.LANE_PACE_SECONDS` apart and
`limits.LANE_SECONDS` long. Only a client that proves a key under the gateway's access rules gets in. An attacker that
tries a hundred times a second from the same address still takes the lane most of the time.
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
    """A reason for a penalty."""

    NOTHING_OFFERED = "left before a log-in"
    OTHER_PROTOCOL = "spoke HTTP or TLS"
    GARBAGE = "sent data that is not SSH"
    KEYS_REFUSED = "offered no acceptable key"
    NEVER_ENDED = "took too long to log in"


SECONDS: Final[Mapping[Offence, float]] = MappingProxyType(
    {
        Offence.NOTHING_OFFERED: limits.PENALTY_NOTHING_SECONDS,
        Offence.OTHER_PROTOCOL: limits.PENALTY_OTHER_PROTOCOL_SECONDS,
        Offence.GARBAGE: limits.PENALTY_GARBAGE_SECONDS,
        Offence.KEYS_REFUSED: limits.PENALTY_KEYS_SECONDS,
        Offence.NEVER_ENDED: limits.PENALTY_GRACE_SECONDS,
    }
)


@dataclass(slots=True)
class _Source:
    until: float
    """When its seconds have expired (monotonic)."""
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
    """For how much longer it is blocked."""
    why: Offence
    """The last offence."""


class Penalties:
    """The table of offenders, `most` at most. Past that the one with the least time left is forgotten.

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
        """A heap of (until, source). An entry is out of date if its time is no longer the source's `until`."""

    def __len__(self) -> int:
        return len(self._sources)

    def add_offence(self, host: str, offence: Offence, now: float) -> Blocked | None:
        """Add an offence of `host`. Returns the block if this offence has caused it."""
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
        """Seconds for which `host` stays blocked; 0 if it is not."""
        entry = self._sources.get(source_of(host)) if self._sources else None
        return max(0.0, entry.until - now) if entry is not None and entry.blocked else 0.0

    def enter_lane(self, host: str, now: float) -> bool:
        """Whether a connection from the blocked address `host` may use its slow lane. If so, `leave_lane` must follow."""
        entry = self._sources.get(source_of(host))
        if entry is None or entry.lane_taken or now < entry.lane_opens:
            return False
        entry.lane_taken, entry.lane_opens = True, now + limits.LANE_PACE_SECONDS
        return True

    def leave_lane(self, host: str) -> None:
        """The handshake in the slow lane is over."""
        if (entry := self._sources.get(source_of(host))) is not None:
            entry.lane_taken = False

    def unblock(self, host: str) -> bool:
        """Forget the offences of `host` (an address, or a /64 as in `listed`). False if it was not blocked."""
        entry = self._sources.pop(source_of(host.partition("/")[0]), None)
        return entry is not None and entry.blocked

    def listed(self, now: float) -> list[Blocked]:
        """The addresses that are blocked now, the longest block first."""
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
