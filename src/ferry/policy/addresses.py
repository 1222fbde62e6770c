"""Sorts out the addresses that the gateway connects to only where the operator has written the address itself.

A name leads where its zone says. So whoever owns a zone could lead a name that the operator has allowed to the gateway's own
services, to its database, or to the metadata service that hands out the credentials of a machine in a cloud.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from ferry.protocol.targets import IpAddress

from .aims import Aim, What
from .rules import numeric

_SPECIAL_V4: Final = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),  # Linux connects 0.0.0.0 to itself
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, with the metadata service of most clouds"),  # RFC 3927
        ("168.63.129.16/32", "the metadata service of a cloud"),  # Azure
        ("100.100.100.200/32", "the metadata service of a cloud"),  # Alibaba
        ("192.0.0.0/24", "reserved, with the metadata service of a cloud"),  # RFC 6890; Oracle
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved or broadcast"),  # RFC 1112 §4
    )
)
_SPECIAL_V6: Final = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 (mapped)"),  # RFC 4291 §2.5.5.2
        ("::/96", "an IPv4 address in IPv6 (compatible)"),  # RFC 4291 §2.5.5.1
        ("::ffff:0:0:0/96", "an IPv4 address in IPv6 (translated)"),  # RFC 2765 §2.1
        ("64:ff9b::/96", "an IPv4 address in IPv6 (NAT64)"),  # RFC 6052 §2.1
        ("64:ff9b:1::/48", "an IPv4 address in IPv6 (NAT64)"),  # RFC 8215
        ("2001::/32", "an IPv4 address in IPv6 (Teredo)"),  # RFC 4380
        ("2002::/16", "an IPv4 address in IPv6 (6to4)"),  # RFC 3056
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),  # RFC 3879
        ("ff00::/8", "multicast"),
        ("fd00:ec2::/32", "the metadata service of a cloud"),  # Amazon
        ("fd20:ce::/32", "the metadata service of a cloud"),  # Google
    )
)
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214 §6.1: the first half of the interface identifier


def special(address: IpAddress) -> str | None:
    """The reason why only its own number leads to an address, for the log; None for an ordinary one, private networks
    included."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _SPECIAL_V4 if address in network), None)
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return "an IPv4 address in IPv6 (ISATAP)"
    return next((kind for network, kind in _SPECIAL_V6 if address in network), None)


def needs_its_own_name(aim: Aim) -> bool:
    """Whether only a rule that names this very host leads there: to a special address, or to the gateway's own host."""
    if aim.what is not What.HOST:
        return False
    address = numeric(aim.name)
    return aim.name == "localhost" if address is None else special(address) is not None
