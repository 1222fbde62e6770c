"""The operator's settings about forwards, as values."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ferry.hostnames import Domain


@dataclass(frozen=True, slots=True)
class Web:
    """The domain of `http` forwards, and the ports in `-R` that mean them."""

    domain: Domain
    http_ports: frozenset[int]
    """80 and the gateway's own plain HTTP ports."""
    https_ports: frozenset[int]
    """443 and the gateway's own HTTPS ports: the local service speaks TLS."""

    def has(self, port: int) -> bool:
        """Whether `port` in `-R` means an `http` forward."""
        return port in self.http_ports or port in self.https_ports


SSH: Final = "ssh"
"""The purpose of ports that lead to sshd."""


def either(forms: Sequence[str]) -> str:
    """Forms to write, as one text: `one, two, or three`."""
    *others, last = forms
    return f"{', '.join(others)}, or {last}" if others else last


class GatewayPorts(enum.StrEnum):
    """Where a port of a public range listens (sshd_config(5))."""

    NO = "no"
    """On loopback addresses."""
    YES = "yes"
    """On all public addresses."""
    CLIENTSPECIFIED = "clientspecified"
    """Where the client says."""


@dataclass(frozen=True, slots=True)
class PortRange:
    """A range of TCP ports with one purpose."""

    first: int
    last: int
    loopback: bool

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class Purpose:
    """Ports that the port table gives for one purpose."""

    name: str
    first: int
    last: int

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """The operator's rules."""

    domain: Domain
    reserved_names: frozenset[str]
    ranges: tuple[PortRange, ...]
    allocate_from: PortRange | None
    """Where `-R 0:...` is allocated; None turns it off."""
    serves_web: bool
    """HTTP or HTTPS is on."""
    keep: float
    rest: float
    reserve_after: float
    """Seconds of use before a name is reserved; 0 reserves at first use."""
    reservations_per_identity: int
    reservations_per_network: int | None
    """New reservations a day from one network; None: no limit."""
    forwards_per_connection: int
    forwards_per_identity: int
    purposes: tuple[Purpose, ...] = ()
    keeps_ports: bool = False
    """A port with a purpose stays its identity's for good, once that has asked for it."""
    public_addresses: tuple[str, ...] = ("127.0.0.1", "::1")
    """Where ports of public ranges listen: numeric addresses."""
    sockets: str = ""
    """The folder of Unix sockets, with a folder for each identity; empty: there are none."""

    def range_of(self, port: int) -> PortRange | None:
        """The range that `port` is in."""
        return next((one for one in self.ranges if port in one), None)

    def purpose_of(self, port: int) -> str | None:
        """The name of the purpose that `port` is for."""
        return next((one.name for one in self.purposes if port in one), None)

    def may_be_sshd(self, port: int) -> bool:
        """Whether `port` may lead to a machine's sshd, as far as anybody can know: it has the purpose `ssh`, or where no
        purpose has that name, it listens on loopback."""
        if any(one.name == SSH for one in self.purposes):
            return self.purpose_of(port) == SSH
        return self.range_of(port) is not None and self.on_loopback(port)

    def on_loopback(self, port: int) -> bool:
        """Whether `port` listens on loopback addresses only. A port that is no longer in any range does."""
        found = self.range_of(port)
        return found is None or found.loopback
