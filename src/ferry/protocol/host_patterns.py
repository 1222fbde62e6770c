"""Patterns and lists of them, as OpenSSH matches them: `from=` and `permitlisten=` of a key's line (ssh_config(5), PATTERNS;
match.c and addrmatch.c of OpenSSH).

In a list, `!` before an entry excludes what it matches, wherever it stands. An entry that is an address or a network
(`192.0.2.0/24`) is compared as such; each entry is also a pattern for the text of the address, and for the name of the
host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import InvalidInput
from ferry.names import printable

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,8}|0[0-7]{0,12}|[1-9][0-9]{0,9}")
_LETTERS: Final = re.compile(r"[a-zA-Z]")
_OF_NAMES: Final = re.compile(r"[^0-9.:*?/]")
_MASK: Final = re.compile(r"[0-9]{1,9}")
_EXAMPLE: Final = 'write from="192.0.2.0/24,203.0.113.7"'

Network = IPv4Network | IPv6Network


def matches(pattern: str, text: str) -> bool:
    """Whether `text` matches `pattern`, in which `*` stands for any characters and `?` for one.

    It takes one step for each character of both, whatever they are: each bit of a number stands for a place in the
    pattern that the text so far may lead to.
    """
    stars = pattern.count("*")
    if len(pattern) - stars > len(text):
        return False
    if not stars and "?" not in pattern:
        return pattern == text
    place, stay, anything = 1, 0, 0
    on: dict[str, int] = {}
    for char in pattern:
        if char == "*":
            stay |= place
            continue
        if char == "?":
            anything |= place
        else:
            on[char] = on.get(char, 0) | place
        place <<= 1
    places = 1
    for char in text:
        places = (places & (on.get(char, 0) | anything)) << 1 | places & stay
        if not places:
            return False
    return bool(places & place)


class _Entry(NamedTuple):
    """One entry of a list."""

    pattern: str
    lowered: str
    """The pattern in lower case, as the texts are that it is compared with."""
    negated: bool
    network: Network | None
    """If it is an address or a network."""


@dataclass(frozen=True, slots=True)
class HostList:
    """The value of `from=`."""

    entries: tuple[_Entry, ...]

    def __str__(self) -> str:
        """As the operator has written it."""
        return ",".join(f"{'!' if entry.negated else ''}{entry.pattern}" for entry in self.entries)

    def needs_name(self, address: str) -> bool:
        """Whether the name of the host at `address` may make a difference: it may admit a client that its address does
        not admit, or exclude one that it does. An entry without letters and hyphens admits addresses."""
        numeric, admitted = _numeric(address), False
        for entry in self.entries:
            if _is_at(entry, address, numeric) or matches(entry.lowered, address):
                if entry.negated:
                    return False
                admitted = True
        return any(
            entry.network is None and entry.negated is admitted and (admitted or _OF_NAMES.search(entry.pattern))
            for entry in self.entries
        )

    @property
    def names(self) -> list[str]:
        """The entries that are for names of hosts alone: no address has their letters."""
        patterns = (entry.pattern for entry in self.entries if entry.network is None)
        return [pattern for pattern in patterns if _LETTERS.search(pattern) and ":" not in pattern]

    def admits(self, address: str, host: str) -> bool:
        """Whether a client may come from `address`, a numeric one. `host` is the name of the host, or the address again
        if nobody has looked the name up."""
        numeric, name, admitted = _numeric(address), host.lower(), False
        for entry in self.entries:
            if admitted and not entry.negated:
                continue  # another hit changes nothing
            if _is_at(entry, address, numeric) or matches(entry.lowered, name):
                if entry.negated:
                    return False
                admitted = True
        return admitted


def _numeric(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _is_at(entry: _Entry, address: str, numeric: IPv4Address | IPv6Address | None) -> bool:
    if numeric is None:
        return False
    return matches(entry.pattern, address) if entry.network is None else numeric in entry.network


def parse_host_list(text: str, most: int | None = limits.KEY_FROM_ENTRIES) -> HostList:
    """The value of `from=`, with `most` entries. Raises InvalidInput for one that lets nobody in, as sshd finds at each
    log-in."""
    count = text.count(",") + 1
    if most is not None and count > most:
        raise InvalidInput(
            f"it has {count:,} entries: {most} are allowed: write networks (192.0.2.0/24), or spread "
            "them over several lines of the key"
        )
    entries = tuple(map(_parse_entry, text.split(",")))
    if all(entry.negated for entry in entries):
        raise InvalidInput("it excludes only, so it lets nobody in: add what may come in, such as ,*")
    return HostList(entries)


def _parse_entry(text: str) -> _Entry:
    pattern = text.removeprefix("!")
    if not pattern:
        raise InvalidInput(f"it has an empty entry, so it lets nobody in: {_EXAMPLE}")
    if len(pattern) > limits.HOST_PATTERN_CHARS:
        raise InvalidInput(f"an entry has {len(pattern)} characters: {limits.HOST_PATTERN_CHARS} are allowed")
    return _Entry(pattern, pattern.lower(), text.startswith("!"), _network(pattern))


def parse_networks(text: str) -> tuple[Network, ...]:
    """The value of `source-address` in a certificate (addrmatch.c, addr_match_cidr_list): addresses and networks alone.
    Raises InvalidInput for one with which sshd lets nobody in."""
    count = text.count(",") + 1
    if count > limits.KEY_FROM_ENTRIES:
        raise InvalidInput(f"source-address has {count:,} entries: {limits.KEY_FROM_ENTRIES} are allowed")
    found: list[Network] = []
    for entry in text.split(","):
        network = _network(entry) if len(entry) <= limits.HOST_PATTERN_CHARS else None
        if network is None:
            raise InvalidInput(
                f"source-address has {printable(entry, 60)!r}, which is neither an address nor a network: sign one with "
                "-O source-address=192.0.2.0/24"
            )
        found.append(network)
    return tuple(found)


def is_in(address: str, networks: Iterable[Network]) -> bool:
    """Whether a numeric address is in one of `networks`."""
    numeric = _numeric(address)
    return numeric is not None and any(numeric in network for network in networks)


def _network(pattern: str) -> Network | None:
    """The network that an entry is; None if it is a pattern of text. Raises InvalidInput for one that OpenSSH calls
    inconsistent."""
    text, slash, mask = pattern.partition("/")
    if (address := _address(text)) is None:
        return None
    if not slash:
        return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)
    if not _MASK.fullmatch(mask):
        return None
    bits = int(mask)
    if bits > address.max_prefixlen:
        raise InvalidInput(
            f"{printable(pattern, 60)} has a mask above {address.max_prefixlen} bits, so it lets nobody in: {_EXAMPLE}",
            detail=f"an entry has a mask above {address.max_prefixlen} bits",
        )
    make = IPv4Network if isinstance(address, IPv4Address) else IPv6Network
    network: Network = make((int(address), bits), strict=False)
    if network.network_address != address:
        raise InvalidInput(
            f"{printable(pattern, 60)} has bits behind its mask, so it lets nobody in: write {network}",
            detail="an entry has bits behind its mask",
        )
    return network


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is; None if it is none. Raises InvalidInput for one with a zone (RFC 4007 §11)."""
    if ":" in text:
        bare, zone, _ = text.partition("%")
        try:
            address = IPv6Address(bare)
        except ValueError:
            return None
        if zone:
            raise InvalidInput(
                f"{printable(text, 60)} has a zone, which is not compared: write {bare}, which is on every interface",
                detail="an entry has a zone",
            )
        return address
    number = _ipv4(text) if text[:1].isdigit() else None
    return None if number is None else IPv4Address(number)


def _ipv4(text: str) -> int | None:
    """An IPv4 address as inet_aton(3) reads it: `10.1` is 10.0.0.1, `0x7f.1` is 127.0.0.1. None if it is none."""
    parts = text.split(".")
    if len(parts) > 4 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    *first, last = map(_number, parts)
    if last >= 256 ** (4 - len(first)) or any(part > 255 for part in first):
        return None
    return sum(part << (24 - 8 * at) for at, part in enumerate(first)) + last


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text, 0)
    return int(text, 8 if text.startswith("0") else 10)
