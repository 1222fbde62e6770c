"""A `Grant` is the proof of one decision. Nothing else opens a listener, a route or a stream.

It carries the address itself, so that its holder cannot resolve a name again and reach another address (warpgate's
`TargetAuthorization`). It also carries the owner, so that it is void once the address has another owner. Only functions
in `ferry.policy` make one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from ferry.errors import LocalProtocolError
from ferry.names import Address, Endpoint, IdentityId

from .rules import Rule

_MAKER: Final = object()


class Use(enum.Enum):
    """The use that a grant allows."""

    VISIT = enum.auto()
    """Streams to the tunnel at an address."""
    LISTEN = enum.auto()
    """A tunnel at an address: its route, and its port if it has one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One decision: it allows `use` of `address` while `owner` owns it."""

    address: Address
    owner: IdentityId
    use: Use
    maker: object
    rule: Rule | None = field(default=None, compare=False)
    """The rule of the operator's policy that has allowed it; None without a policy file."""

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("only ferry.policy makes a Grant")

    def require(self, address: Address, owner: IdentityId, use: Use) -> None:
        """Raise LocalProtocolError unless this grant is for exactly this address, owner and use."""
        same = self.address is address or self.address == address  # nearly always the same object
        if not same or self.owner != owner or self.use is not use:
            raise LocalProtocolError(
                f"a grant to {self.use.name} at {self.address} of {self.owner} was used to {use.name} at {address} of {owner}"
            )


@dataclass(frozen=True, slots=True)
class HostGrant:
    """One decision: it allows a connection from the gateway to this numeric address and port."""

    endpoint: Endpoint
    maker: object

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("only ferry.policy makes a HostGrant")


@dataclass(frozen=True, slots=True)
class SocketGrant:
    """One decision: it allows a connection from the gateway to the Unix socket at `root/folder/name`."""

    root: str
    folder: str
    name: str
    maker: object
    rule: Rule | None = field(default=None, compare=False)
    """The rule of the operator's policy that has allowed it; None without a policy file."""

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("only ferry.policy makes a SocketGrant")

    def __str__(self) -> str:
        return f"{self.root}/{self.folder}/{self.name}"


def grant_socket(root: str, folder: str, name: str, rule: Rule | None) -> SocketGrant:
    """Only `ferry.policy.sockets` calls this."""
    return SocketGrant(root, folder, name, _MAKER, rule)


def grant_host(endpoint: Endpoint) -> HostGrant:
    """Only `ferry.policy.reach` calls this."""
    return HostGrant(endpoint, _MAKER)


def grant_visit(address: Address, owner: IdentityId) -> Grant:
    """Only `ferry.policy.visits` calls this."""
    return Grant(address, owner, Use.VISIT, _MAKER)


def grant_listen(address: Address, owner: IdentityId, rule: Rule | None) -> Grant:
    """Only `ferry.policy.forwards` calls this."""
    return Grant(address, owner, Use.LISTEN, _MAKER, rule)
