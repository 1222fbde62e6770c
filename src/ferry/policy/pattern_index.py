"""Indexes of patterns, ports and networks, so that a decision among a thousand rules looks at a few of them.

Each answers with a set of rules as one number: bit n stands for rule n. So the rules that fit who asks and the rules that
fit what is asked for are joined by `&`, and the lowest bit is the first rule of the file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ferry.protocol.host_patterns import Network, matches

from .rules import ANY_PORT, OWN_NAME, Naming, Permit, expanded, is_pattern, numeric

_NOTHING: Final[dict[str, int]] = {}


def bits_of(mask: int) -> Iterator[int]:
    """The numbers of the rules in a set, the least first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


class PatternIndex:
    """Finds the patterns that match a text. Patterns are found by their text before the first wildcard, or behind the
    last; only those without either are all looked at."""

    __slots__ = ("_ends", "_every", "_exact", "_heads", "_lengths", "_own", "_starts")

    def __init__(self) -> None:
        self._every = 0
        self._exact: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        """Patterns with one wildcard, a `*` at their end: what stands before it."""
        self._starts: dict[str, dict[str, int]] = {}
        """Patterns by what stands before their first wildcard."""
        self._lengths: tuple[int, ...] = ()
        self._ends: dict[str, dict[str, int]] = {}
        """Those that begin with a wildcard, by their last character; empty if that is a wildcard too."""
        self._own: dict[str, int] = {}
        """Those with `{name}`."""

    def add(self, pattern: str, bits: int) -> None:
        """Let `pattern` stand for the rules in `bits`."""
        if pattern == "*":
            self._every |= bits
        elif OWN_NAME in pattern:
            self._own[pattern] = self._own.get(pattern, 0) | bits
        elif not is_pattern(pattern):
            self._exact[pattern] = self._exact.get(pattern, 0) | bits
        else:
            self._add_wild(pattern, bits)

    def _add_wild(self, pattern: str, bits: int) -> None:
        first = min(at for char in "*?" if (at := pattern.find(char)) >= 0)
        if first and first not in self._lengths:
            self._lengths = tuple(sorted((*self._lengths, first)))
        if pattern.endswith("*") and first == len(pattern) - 1:
            self._heads[pattern[:-1]] = self._heads.get(pattern[:-1], 0) | bits
            return
        last = "" if is_pattern(pattern[-1]) else pattern[-1]
        of_key = self._starts.setdefault(pattern[:first], {}) if first else self._ends.setdefault(last, {})
        of_key[pattern] = of_key.get(pattern, 0) | bits

    def exactly(self, text: str) -> int:
        """The rules whose pattern is this very text."""
        return self._exact.get(text, 0)

    def find(self, text: str, own: str | None) -> int:
        """The rules with a pattern that matches `text`. `own` is the name of the identity that asks."""
        found = self._every | self._exact.get(text, 0)
        for length in self._lengths:
            if length > len(text):
                break
            start = text[:length]
            found |= self._heads.get(start, 0)
            for pattern, bits in self._starts.get(start, _NOTHING).items():
                if bits & ~found and matches(pattern, text):
                    found |= bits
        for end in (text[-1:], "") if self._ends else ():
            for pattern, bits in self._ends.get(end, _NOTHING).items():
                if bits & ~found and matches(pattern, text):
                    found |= bits
        for template, bits in self._own.items():
            pattern_of_own = expanded(template, own)
            if pattern_of_own is not None and bits & ~found and matches(pattern_of_own, text):
                found |= bits
        return found


class NetworkIndex:
    """Finds the networks that an address is in, by their length: at most 33 and 129 of them."""

    __slots__ = ("_of_length",)

    def __init__(self) -> None:
        self._of_length: dict[tuple[int, int], dict[int, int]] = {}

    def add(self, network: Network, bits: int) -> None:
        """Let `network` stand for the rules in `bits`."""
        found = self._of_length.setdefault((network.version, network.prefixlen), {})
        key = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found[key] = found.get(key, 0) | bits

    def find(self, address: IPv4Address | IPv6Address, *, exactly: bool) -> int:
        """The rules with a network that has `address`; `exactly`: with this one address."""
        number, most, found = int(address), address.max_prefixlen, 0
        for (version, length), networks in self._of_length.items():
            if version == address.version and (length == most or not exactly):
                found |= networks.get(number >> (most - length), 0)
        return found


class PortIndex:
    """Finds the ranges that a port is in."""

    __slots__ = ("_begins", "_masks")

    def __init__(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        """`ranges`: first port, last port, number of the rule."""
        changes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for first, last, rule in ranges:
            changes[first].append((rule, 1))
            changes[last + 1].append((rule, -1))
        self._begins = sorted(changes)
        self._masks: list[int] = []
        """By the place in `_begins`: the rules of the ports from there to the next."""
        held: Counter[int] = Counter()
        mask = 0
        for begin in self._begins:
            for rule, change in changes[begin]:
                held[rule] += change
            for rule, _ in changes[begin]:
                mask = mask | 1 << rule if held[rule] else mask & ~(1 << rule)
            self._masks.append(mask)

    def find(self, port: int) -> int:
        """The rules with a range that has `port`."""
        at = bisect_right(self._begins, port) - 1
        return self._masks[at] if at >= 0 else 0


class _Names:
    """The names and networks of the permits with the same ports."""

    __slots__ = ("networks", "patterns")

    def __init__(self) -> None:
        self.patterns = PatternIndex()
        self.networks = NetworkIndex()

    def add(self, permit: Permit, bits: int) -> None:
        if permit.network is not None:
            self.networks.add(permit.network, bits)
        else:
            self.patterns.add(permit.pattern, bits)

    def find(self, name: str, address: IPv4Address | IPv6Address | None, own: str | None, *, exactly: bool) -> int:
        found = self.patterns.exactly(name) if exactly else self.patterns.find(name, own)
        return found if address is None else found | self.networks.find(address, exactly=exactly)


class PermitIndex:
    """Finds the rules with a permit for a target."""

    __slots__ = ("_has_networks", "_names", "_of_port", "_ports", "_ranges")

    def __init__(self, permits: Iterable[tuple[Permit, int]]) -> None:
        """`permits`: each with the number of its rule."""
        plain: list[tuple[int, int, int]] = []
        self._of_port: dict[int, _Names] = {}
        self._ranges: dict[tuple[int, int], _Names] = {}
        self._has_networks = False
        for permit, rule in permits:
            self._has_networks = self._has_networks or permit.network is not None
            if permit.of_ports:
                plain.append((permit.first, permit.last, rule))
            elif permit.first == permit.last:
                self._of_port.setdefault(permit.first, _Names()).add(permit, 1 << rule)
            else:
                self._ranges.setdefault(permit.ports, _Names()).add(permit, 1 << rule)
        self._ports = PortIndex(plain)
        self._names = self._ranges.pop(ANY_PORT, None)

    def find(self, name: str, port: int, own: str | None, how: Naming = Naming.ANYHOW) -> int:
        """The rules that allow `port` of `name`, and name it in the way `how`. `own` is the name of the identity that
        asks."""
        address = numeric(name) if self._has_networks else None
        exactly = how is not Naming.ANYHOW
        found = 0 if exactly else self._ports.find(port)
        if (names := self._of_port.get(port)) is not None:
            found |= names.find(name, address, own, exactly=exactly)
        if how is Naming.PORT:
            return found
        if self._names is not None:
            found |= self._names.find(name, address, own, exactly=exactly)
        for (first, last), in_range in self._ranges.items():
            if first <= port <= last:
                found |= in_range.find(name, address, own, exactly=exactly)
        return found
