"""The host of a `direct-tcpip` open (RFC 4254 §7.2), which is an address or a name.

A system's resolver takes more forms of an address than people know: `2130706433`, `0x7f.1`, `0177.0.0.1` and `127.1` are all
127.0.0.1 to inet_aton(3). A check of the text would miss them, so only one form of each address passes here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from ferry.errors import InvalidInput
from ferry.hostnames import normal

IpAddress = IPv4Address | IPv6Address
_NAME_CHARS: Final = 253  # RFC 1035 §2.3.4, without the final dot
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")  # RFC 1123 §2.1; DNS has names with `_` too
_SHOWN: Final = re.compile(rb"[\w.:*\[\]-]*", re.ASCII)  # of a host, an address or a pattern
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")  # the last label of what inet_aton may read as an address


def shown_host(host: bytes) -> str:
    """A host as a client has sent it, for the log. What is no host may be a secret that somebody has typed in its place:
    its length alone is shown."""
    return host.decode("ascii") if _SHOWN.fullmatch(host) else f"({len(host)} bytes)"


def parse_target_host(host: bytes) -> IpAddress | str:
    """An address, or a name in lower case. Raises InvalidInput, whose text does not repeat the host."""
    try:
        text = host.decode("ascii").lower()
    except UnicodeDecodeError:
        raise InvalidInput("the host has letters outside ASCII: write its name as DNS has it (xn--...)") from None
    if ":" in text:
        return _ipv6(text)
    labels = normal(text).split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(text)
    if len(text) > _NAME_CHARS + 1 or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidInput("the host is neither a name nor an address: use letters, digits, hyphens and dots")
    return text


def _ipv4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise InvalidInput("an IPv4 address is four decimal numbers: write it as 192.0.2.7") from None


def _ipv6(text: str) -> IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if not isinstance(address, IPv6Address) or address.scope_id is not None:
        raise InvalidInput("the host is no IPv6 address: write it without brackets and zone, as 2001:db8::7")
    return address
