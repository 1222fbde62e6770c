"""A `Grant` is the proof of one decision, and the only thing that opens a listener, a route or a stream.

It carries the address itself, so that whoever holds it cannot resolve a name again and reach another one
(warpgate's `TargetAuthorization`), and whose that was, so that it opens nothing once another has it. Only functions in
`ferry.policy` make one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ferry.errors import LocalProtocolError
from ferry.names import Address, IdentityId

_MAKER: Final = object()


class Use(enum.Enum):
    """What a grant is for."""

    VISIT = enum.auto()
    """Streams to the tunnel at an address."""
    LISTEN = enum.auto()
    """A tunnel at an address: its route, and its port if it has one."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One decision: what may be done at `address`, as long as it is `owner`'s."""

    address: Address
    owner: IdentityId
    use: Use
    visitor: IdentityId | None
    """Whose visit it is; None for the public, and for listening."""
    maker: object

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("a Grant is made by ferry.policy only")

    def require(self, address: Address, owner: IdentityId, use: Use) -> None:
        """Raise LocalProtocolError unless this grant is for exactly this address, owner and use."""
        same = self.address is address or self.address == address  # nearly always the very object
        if not same or self.owner != owner or self.use is not use:
            raise LocalProtocolError(
                f"a grant to {self.use.name} at {self.address} of {self.owner} was used to {use.name} at {address} of {owner}"
            )


def grant_visit(address: Address, owner: IdentityId, visitor: IdentityId | None) -> Grant:
    """For `ferry.policy.visits` alone."""
    return Grant(address, owner, Use.VISIT, visitor, _MAKER)


def grant_listen(address: Address, owner: IdentityId) -> Grant:
    """For `ferry.policy.forwards` alone."""
    return Grant(address, owner, Use.LISTEN, None, _MAKER)
