"""Bounds the connections that log in at once, in all and from one network (sshd's MaxStartups).

One network (IPv4 /24, IPv6 /64) never holds more than its own share. When all slots are taken, a newcomer displaces
another handshake: first one that has said nothing, then one that has exchanged keys, last one that has offered an
acceptable key (a person types a passphrase). Among equals it is the oldest one of the network that holds most. It goes

* at once, if its network still holds no less than the newcomer's afterwards, or
* once it has made no progress for `limits.HANDSHAKE_PATIENCE_SECONDS`.

The second condition keeps a storm of honest clients (the gateway was restarted) from displacing one another for ever: the
gateway refuses the newcomer instead, and tells it when to come back.

What an attacker with N networks can do, with P slots in all:

* N up to P/2: it holds every slot, two or more per network. Each newcomer from another network still gets in at once,
  and keeps its slot, because the attacker's networks hold more.
* N of P and more: it holds each slot from another network. A newcomer gets in as soon as one of them is silent for two
  seconds. To prevent that, the attacker must begin P/2 handshakes a second (100 by default), which costs it as much as
  us. Each key exchange that it finishes to look busier costs us about 2 ms of CPU, and it more than a packet. A newcomer
  then gets its share of the slots that become free, and its client is told when to try again.

Clients that are logged in are not affected. All operations are O(1), and memory grows with the number of slots.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

from ferry import limits
from ferry.names import network_of

from .source_queue import SourceQueue
from .sources import ExemptNetworks


class Progress(enum.IntEnum):
    """The progress of a handshake."""

    SILENT = 0
    """No key exchange yet."""
    EXCHANGED = 1
    """The key exchange is done."""
    PROMISING = 2
    """The client has offered an acceptable key and not signed with it yet."""


@dataclass(slots=True, eq=False)
class Handshake:
    """One slot that is taken."""

    network: str
    since: float
    """When it last made progress, in monotonic seconds."""
    progress: Progress = Progress.SILENT


class HandshakeGate:
    """Gives slots to connections that have not logged in yet. Each `Handshake` that it returns ends with `done`.

    Networks in `exempt` have no share of their own, only the limit in all: many people connect through a proxy there.
    """

    def __init__(self, total: int, per_network: int, exempt: ExemptNetworks | None = None) -> None:
        self._total = total
        self._per_network = per_network
        self._exempt = ExemptNetworks() if exempt is None else exempt
        self._count = 0
        self._networks: Counter[str] = Counter()
        self._queues = {progress: SourceQueue[Handshake]() for progress in Progress}

    def __len__(self) -> int:
        return self._count

    def admit(self, host: str, now: float) -> tuple[Handshake | None, Handshake | None]:
        """A slot for a connection from `host`, or None; and the handshake that it displaces (already `done`), or None."""
        network = network_of(host)
        slots = self._networks[network]
        if slots >= self._per_network and host not in self._exempt:
            return None, None
        gone = None
        if self._count >= self._total:
            gone = self._least_deserving(slots, now)
            if gone is None:
                return None, None
            self.done(gone)
        handshake = Handshake(network, now)
        self._queues[handshake.progress].add(handshake, network)
        self._networks[network] += 1
        self._count += 1
        return handshake, gone

    def _least_deserving(self, slots: int, now: float) -> Handshake | None:
        """The handshake to displace for a newcomer whose network has `slots` slots."""
        for progress, queue in self._queues.items():
            most, oldest = queue.fullest()
            if oldest is None:
                continue
            if most > slots + 1 or now - oldest.since >= limits.HANDSHAKE_PATIENCE_SECONDS[progress]:
                return oldest
        return None

    def progressed(self, handshake: Handshake, progress: Progress, now: float) -> None:
        """Record its progress. A step back is ignored, and so is a handshake that is done."""
        if progress <= handshake.progress or handshake not in self._queues[handshake.progress]:
            return
        self._queues[handshake.progress].remove(handshake)
        handshake.progress, handshake.since = progress, now
        self._queues[progress].add(handshake, handshake.network)

    def done(self, handshake: Handshake) -> None:
        """Free its slot: it has logged in, or its connection is gone. Safe to call twice."""
        queue = self._queues[handshake.progress]
        if handshake not in queue:
            return
        queue.remove(handshake)
        self._count -= 1
        self._networks[handshake.network] -= 1
        if self._networks[handshake.network] <= 0:
            del self._networks[handshake.network]
