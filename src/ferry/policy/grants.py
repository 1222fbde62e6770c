"""A `Grant` is the proof of one decision, and the only thing that opens a stream.

It carries the address itself, so that whoever holds it cannot resolve a name again and reach another one
(warpgate's `TargetAuthorization`). Only functions in `ferry.policy` make one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ferry.errors import LocalProtocolError
from ferry.names import Address, IdentityId

_MAKER: Final = object()


@dataclass(frozen=True, slots=True)
class Grant:
    """One decision: `identity` (None: the public) may open streams to `address`."""

    address: Address
    identity: IdentityId | None
    maker: object

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("a Grant is made by ferry.policy only")

    def require(self, address: Address) -> None:
        """Raise LocalProtocolError unless this grant is for exactly this address."""
        if self.address != address:
            raise LocalProtocolError(f"a grant for {self.address} was used for {address}")


def grant_visit(address: Address, identity: IdentityId | None) -> Grant:
    """For `ferry.policy.visits` alone."""
    return Grant(address, identity, _MAKER)
