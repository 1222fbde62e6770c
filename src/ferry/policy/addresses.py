"""Sorts out the addresses that the gateway connects to only where the operator has written the address itself.

A name leads where its zone says. So whoever owns a zone could lead a name that the operator has allowed to the gateway's own
services, to its database, or to the metadata service that hands out the credentials of a machine in a cloud.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from ferry.errors import InvalidInput, Refusal
from ferry.protocol.targets import IpAddress, parse_target_host

from .aims import Aim, What
from .rules import Naming, numeric

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


def is_itself(address: IpAddress) -> bool:
    """Whether an address leads to this host, whatever its interfaces are. Linux connects the unspecified one to loopback."""
    return address.is_loopback or address.is_unspecified


def naming_of(aim: Aim, services: frozenset[int]) -> Naming:
    """How a rule has to name a target to lead there, as far as its name tells: a special address, and `localhost`, by itself;
    of this host a port of the gateway's own (`services`) too."""
    if aim.what is not What.HOST:
        return Naming.ANYHOW
    address = numeric(aim.name)
    if (aim.name == "localhost" if address is None else is_itself(address)) and aim.port in services:
        return Naming.PORT
    special_name = aim.name == "localhost" if address is None else special(address) is not None
    return Naming.HOST if special_name else Naming.ANYHOW


def form_refusal(aim: Aim) -> Refusal | None:
    """The refusal of a host that is written in a form of an address which people do not know as one, or that is none."""
    if aim.what is not What.HOST:
        return None
    try:
        parse_target_host(aim.name.encode())
    except InvalidInput as error:
        return Refusal(str(error), code="target_form", detail=f"the gateway connects to no such host: {error}")
    return None
