"""How many connections may be logging in at once: in all, and from one network (what sshd calls MaxStartups).

One network (IPv4 /24, IPv6 /64) never holds more than its own share. When all places are taken, a newcomer does not
wait for one: the handshake that deserves its place least ends. First come those that have said nothing, then those
that have exchanged keys, last those that have offered an acceptable key (somebody types a passphrase). Among equals it
is the oldest one of the network that holds most, and it goes

* at once, if its network will still hold no less than the newcomer's, or
* once it has not moved for `limits.HANDSHAKE_PATIENCE_SECONDS`.

The second condition keeps a storm of honest clients (the gateway was restarted) from ending one another for ever: the
newcomer is refused instead, and told when to come back.

What somebody with N networks can do, with P places in all:

* N up to P/2: holds every place, two and more per network. Each newcomer from anywhere else still gets in at once, and
  keeps its place, because the attacker's networks hold more.
* N of P and more: holds each place from another network. A newcomer gets in as soon as one of them is silent for two
  seconds. To keep it out he must begin P/2 handshakes a second (100 by default), which costs him as much as us; each
  key exchange that he finishes to look busier costs us about 2 ms of CPU, and him more than a packet. Then a newcomer
  has his share of the places that come free, and his client is told when to try again.

Whoever is logged in already is not concerned at all. Everything here is O(1), and as large as the number of places.
"""

from __future__ import annotations

import enum
from collections import Counter, OrderedDict
from dataclasses import dataclass

from ferry import limits
from ferry.names import network_of

from .sources import ExemptNetworks


class Progress(enum.IntEnum):
    """How far a handshake has come."""

    SILENT = 0
    """No key exchange yet."""
    EXCHANGED = 1
    """The key exchange is done."""
    PROMISING = 2
    """A key that would do was offered; nobody has signed with it yet."""


@dataclass(slots=True, eq=False)
class Handshake:
    """One place that is taken."""

    network: str
    since: float
    """When it last made progress, in monotonic seconds."""
    progress: Progress = Progress.SILENT


class HandshakeGate:
    """Gives places to connections that have not logged in yet. Each `Handshake` it gives out ends with `done`.

    Networks in `exempt` have no share of their own, only the limit in all: many people connect through a proxy there.
    """

    def __init__(self, total: int, per_network: int, exempt: ExemptNetworks | None = None) -> None:
        self._total = total
        self._per_network = per_network
        self._exempt = ExemptNetworks() if exempt is None else exempt
        self._count = 0
        self._networks: Counter[str] = Counter()
        self._lines = {progress: _Line() for progress in Progress}

    def __len__(self) -> int:
        return self._count

    def admit(self, host: str, now: float) -> tuple[Handshake | None, Handshake | None]:
        """A place for a connection from `host`, or None; and who has to go for it (already `done` here), or None."""
        network = network_of(host)
        held = self._networks[network]
        if held >= self._per_network and host not in self._exempt:
            return None, None
        gone = None
        if self._count >= self._total:
            gone = self._least_deserving(held, now)
            if gone is None:
                return None, None
            self.done(gone)
        handshake = Handshake(network, now)
        self._lines[handshake.progress].add(handshake)
        self._networks[network] += 1
        self._count += 1
        return handshake, gone

    def _least_deserving(self, held: int, now: float) -> Handshake | None:
        """Who goes for a newcomer whose network holds `held` places."""
        for progress, line in self._lines.items():
            most, oldest = line.fullest()
            if oldest is None:
                continue
            if most > held + 1 or now - oldest.since >= limits.HANDSHAKE_PATIENCE_SECONDS[progress]:
                return oldest
        return None

    def progressed(self, handshake: Handshake, progress: Progress, now: float) -> None:
        """It has come as far as `progress`. Going back, and one that is done, count for nothing."""
        if progress <= handshake.progress or not self._lines[handshake.progress].holds(handshake):
            return
        self._lines[handshake.progress].remove(handshake)
        handshake.progress, handshake.since = progress, now
        self._lines[progress].add(handshake)

    def done(self, handshake: Handshake) -> None:
        """It has logged in, or is gone. Saying it twice does no harm."""
        line = self._lines[handshake.progress]
        if not line.holds(handshake):
            return
        line.remove(handshake)
        self._count -= 1
        self._networks[handshake.network] -= 1
        if self._networks[handshake.network] <= 0:
            del self._networks[handshake.network]


class _Line:
    """Handshakes of equal progress. Finds the network that holds most of them without looking at the others."""

    def __init__(self) -> None:
        self._of: dict[str, OrderedDict[Handshake, None]] = {}
        self._by_size: dict[int, OrderedDict[str, None]] = {}
        """Networks by how many they hold; in each, the one that has held so many for the longest comes first."""
        self._most = 0

    def holds(self, handshake: Handshake) -> bool:
        return handshake in self._of.get(handshake.network, ())

    def add(self, handshake: Handshake) -> None:
        group = self._of.setdefault(handshake.network, OrderedDict())
        group[handshake] = None
        self._resized(handshake.network, len(group) - 1, len(group))

    def remove(self, handshake: Handshake) -> None:
        group = self._of[handshake.network]
        del group[handshake]
        self._resized(handshake.network, len(group) + 1, len(group))
        if not group:
            del self._of[handshake.network]

    def fullest(self) -> tuple[int, Handshake | None]:
        """How many the fullest network holds, and its oldest; (0, None) when there is none."""
        if self._most == 0:
            return 0, None
        network = next(iter(self._by_size[self._most]))
        return self._most, next(iter(self._of[network]))

    def _resized(self, network: str, before: int, now: int) -> None:
        if before:
            bucket = self._by_size[before]
            del bucket[network]
            if not bucket:
                del self._by_size[before]
        if now:
            self._by_size.setdefault(now, OrderedDict())[network] = None
        if now > self._most or self._most not in self._by_size:
            self._most = now  # the sizes change by one: what was alone at the top is next to it now
