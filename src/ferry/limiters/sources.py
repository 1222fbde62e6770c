"""Maps addresses to sources, which is how connections are counted. Exempt networks are not counted."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import network_of, printable

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


class ExemptNetworks:
    """Networks whose addresses are not counted, because a reverse proxy connects from there for many people."""

    __slots__ = ("_networks", "source_of")

    def __init__(self, networks: Iterable[str] = LOOPBACK) -> None:
        """Raises InvalidInput when one of `networks` is not `ADDRESS` or `ADDRESS/BITS`."""
        self._networks = tuple(parse_network(text) for text in networks)
        # Parsing an address costs 5 µs (IPv6: 50), and visitors come back.
        self.source_of: Callable[[str], str] = lru_cache(limits.SOURCES_REMEMBERED)(self._source_of)
        """Like the function of that name, and empty for exempt addresses too."""

    def __contains__(self, host: object) -> bool:
        """Whether `host`, a numeric address of a peer, is in one of the networks."""
        address = _address(str(host))
        return address is not None and self._contains(address)

    def _source_of(self, host: str) -> str:
        address = _address(host)
        return "" if address is None or self._contains(address) else _source(address)

    def _contains(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """`10.0.0.0/8`, `::1` or `192.0.2.7`. Raises InvalidInput."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidInput(f"'{printable(text)}' is no network: write 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32") from None


def source_of(host: str) -> str:
    """The source of an address: the IPv4 address or the IPv6 /64, which one person, machine or household usually has.
    Empty if `host` is not numeric."""
    address = _address(host)
    return "" if address is None else _source(address)


def _source(address: _Address) -> str:
    return str(address) if address.version == 4 else network_of(str(address))


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
