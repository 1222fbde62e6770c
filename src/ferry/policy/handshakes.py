"""How many connections may be logging in at once: in all, and from one network (what sshd calls MaxStartups)."""

from __future__ import annotations

import ipaddress
from collections import Counter

from ferry.names import network_of


class HandshakeGate:
    """Counts connections that have not logged in yet. `admit` and `done` come in pairs."""

    def __init__(self, total: int, per_network: int) -> None:
        self._total = total
        self._per_network = per_network
        self._networks: Counter[str] = Counter()

    def admit(self, host: str) -> bool:
        """Whether a connection from `host` may begin; if so it counts until `done(host)`.

        Loopback is one network with many people behind it (a reverse proxy), so only the limit in all applies.
        """
        network = network_of(host)
        if self._networks.total() >= self._total:
            return False
        if self._networks[network] >= self._per_network and not _is_loopback(host):
            return False
        self._networks[network] += 1
        return True

    def done(self, host: str) -> None:
        """The connection has logged in, or is gone."""
        network = network_of(host)
        self._networks[network] -= 1
        if self._networks[network] <= 0:
            del self._networks[network]

    def __len__(self) -> int:
        return self._networks.total()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0].removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False
