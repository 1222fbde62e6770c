"""A `Grant` is the proof of one decision, and the only thing that opens a listener or a stream.

It carries the address itself, so that whoever holds it cannot resolve a name again and reach another one
(warpgate's `TargetAuthorization`). Only functions in `ferry.policy` make one.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ferry.errors import LocalProtocolError
from ferry.names import Address, IdentityId

_MAKER: Final = object()


class Action(enum.Enum):
    """What was decided."""

    LISTEN = "listen"
    """This identity may publish this address."""
    VISIT = "visit"
    """This visitor may open streams to this address."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One decision: `identity` (None: the public) may do `action` at `address`."""

    action: Action
    address: Address
    identity: IdentityId | None
    maker: object

    def __post_init__(self) -> None:
        if self.maker is not _MAKER:
            raise LocalProtocolError("a Grant is made by ferry.policy only")

    def require(self, action: Action, address: Address) -> None:
        """Raise LocalProtocolError unless this grant is for exactly this action and address."""
        if self.action is not action or self.address != address:
            raise LocalProtocolError(f"grant for {self.action.value} {self.address} used for {action.value} {address}")


def grant_listen(address: Address, identity: IdentityId) -> Grant:
    """For `ferry.policy.forwards` alone."""
    return Grant(Action.LISTEN, address, identity, _MAKER)


def grant_visit(address: Address, identity: IdentityId | None) -> Grant:
    """For `ferry.policy.visits` alone."""
    return Grant(Action.VISIT, address, identity, _MAKER)
