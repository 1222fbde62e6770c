"""The operator's rules, as values: who may publish and reach what, from where, and until when.

`config.policy_file` reads them and `policy.rulebook` decides by them. A rule only ever allows. What no rule allows is
refused. A further sort of target (a custom domain) is one more `What`, a further act (to visit) one more `Act`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import Fingerprint, Identity, parse_label
from ferry.protocol.host_patterns import HostList, Network, matches

from .aims import Act, Aim, What


class Naming(enum.IntEnum):
    """How a rule has to name a target."""

    ANYHOW = 0
    """By a pattern, a network or a range of ports, too."""
    HOST = 1
    """The one host itself."""
    PORT = 2
    """The one host and the one port."""


OWN_NAME: Final = "{name}"
"""In a pattern: the name of the identity that asks, or the key id of its certificate in a rule that names the CA."""
ANY_PORT: Final = (0, 65535)


class Asker(NamedTuple):
    """Somebody who wants something."""

    name: str | None
    """The name of the identity."""
    fingerprint: Fingerprint | None
    anonymous: bool
    address: str
    """Numeric; empty if it is not known: then only `from = ["*"]` admits it."""
    host: str
    """The name of the host, or `address`."""
    now: float
    """Seconds since the epoch."""
    holder: str | None = None
    """Of a certificate: `CertificateName.holder`."""

    @classmethod
    def of(cls, identity: Identity, address: str, host: str, now: float) -> Asker:
        """An identity that has logged in from `address`."""
        certificate = identity.certificate
        holder = None if certificate is None else certificate.holder
        return cls(identity.name, identity.fingerprint, identity.anonymous, address, host, now, holder)

    @property
    def key_name(self) -> str | None:
        """The key id of a certificate, where it could be a name (`name=`). It is one for those rules alone that name the CA."""
        key_id = (self.holder or "").split(":", 2)[-1]
        try:
            return key_id if self.name is None and parse_label(key_id) == key_id else None
        except InvalidInput:
            return None

    def __str__(self) -> str:
        return "anonymous" if self.anonymous else self.name or self.holder or str(self.fingerprint)


@dataclass(frozen=True, slots=True)
class Members:
    """A set of identities."""

    names: tuple[str, ...] = ()
    """Patterns for names."""
    fingerprints: frozenset[Fingerprint] = frozenset()
    holders: tuple[str, ...] = ()
    """Of certificates: patterns for `Asker.holder`."""
    keyed: bool = False
    """Everybody with a key (`*`)."""
    anonymous: bool = False
    tags: tuple[str, ...] = ()
    """Of a rule only: a tag has none."""

    @property
    def shown(self) -> str:
        """Them, for the operator."""
        every = (("*",) if self.keyed else ()) + (("anonymous",) if self.anonymous else ())
        tags = (f"tag:{tag}" for tag in self.tags)
        return ", ".join((*every, *self.names, *sorted(self.fingerprints), *self.holders, *tags))


class Permit(NamedTuple):
    """One target, or a set of targets, that a rule allows."""

    pattern: str = "*"
    """For the name, with `*`, `?` and `{name}`."""
    first: int = ANY_PORT[0]
    last: int = ANY_PORT[1]
    network: Network | None = None
    """Of a host: it is compared by its address."""
    text: str = ""
    """As the operator has written it."""

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last port."""
        return self.first, self.last

    @property
    def of_ports(self) -> bool:
        """It says something about ports alone."""
        return self.pattern == "*" and self.network is None

    def names(self, how: Naming) -> bool:
        """Whether it names its targets as they have to be named."""
        if how is Naming.ANYHOW:
            return True
        if how is Naming.PORT and self.first != self.last:
            return False
        if self.network is not None:
            return self.network.num_addresses == 1
        return not is_pattern(self.pattern) and OWN_NAME not in self.pattern

    def of_somebody(self, wanted: Aim) -> bool:
        """Whether it allows the target to an identity of some name."""
        return self._replace(pattern=self.pattern.replace(OWN_NAME, "*")).covers(wanted, None)

    def covers(self, wanted: Aim, own: str | None) -> bool:
        """Whether it allows the target. `own` is the name of the identity that asks."""
        if not self.first <= wanted.port <= self.last:
            return False
        if self.network is not None:
            address = numeric(wanted.name)
            return address is not None and address in self.network
        pattern = expanded(self.pattern, own)
        return pattern is not None and matches(pattern, wanted.name)


def expanded(pattern: str, own: str | None) -> str | None:
    """The pattern for an identity of this name; None if the pattern needs a name and it has none. A name with `*` or `?`,
    which would itself be a pattern, is none."""
    if OWN_NAME not in pattern:
        return pattern
    return None if own is None or is_pattern(own) else pattern.replace(OWN_NAME, own)


def is_pattern(text: str) -> bool:
    """Whether `text` may match another text than itself."""
    return "*" in text or "?" in text


def numeric(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is; None for a name. An IPv4 address inside IPv6 is the IPv4 address."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


Targets = tuple[Act, What]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the file."""

    name: str
    file: str
    line: int
    """From 1."""
    who: Members
    permits: Mapping[Targets, tuple[Permit, ...]]
    origins: HostList | None = None
    """From where; None: from anywhere."""
    until: float | None = None
    """Seconds since the epoch; None: for ever."""
    forwards: int | None = None
    """The most forwards of one identity for what it allows; None: they count for `limits.forwards_per_identity`."""
    names: int | None = None
    """The most reservations of one identity; None: `names.per_identity`."""

    def __str__(self) -> str:
        """For the log and the operator."""
        return f"{self.file}, line {self.line}: {self.name}"

    def permits_for(self, aim: Aim) -> Sequence[Permit]:
        """What it allows of the sort of `aim`."""
        return self.permits.get((aim.act, aim.what), ())

    def has_ended(self, now: float) -> bool:
        """Whether its `until` has passed. `now` is in seconds since the epoch."""
        return self.until is not None and now > self.until

    def objection(self, asker: Asker) -> str | None:
        """The key of the condition that `asker` does not meet, `from` or `until`; None if all are met."""
        if self.has_ended(asker.now):
            return "until"
        if self.origins is not None and not self.origins.admits(asker.address, asker.host):
            return "from"
        return None


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a `[[test]]`, with the answer that its author expects."""

    line: int
    asker: Asker
    """Its `now` is 0 if the test has no `at`: then the time of the test counts."""
    text: str
    wanted: tuple[Aim, ...]
    """It is allowed if one of them is."""
    accept: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """The content of a policy file."""

    file: str
    rules: tuple[Rule, ...]
    tags: Mapping[str, Members] = field(default_factory=dict)
    examples: tuple[Example, ...] = ()
    sha256: str = ""
    """Of the file, in hexadecimal; empty if it was not read from one."""
