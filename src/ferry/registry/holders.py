"""Finds the holder of an address, so that a newer connection of the same identity can take the address over.

The methods are asynchronous because a holder may be in another worker. Those of this worker never suspend: no other task
runs between `at` and the end of `give_way`, so no caller sees an address that is half taken over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from ferry.names import Address, ConnectionId, Endpoint, IdentityId


class Taker(NamedTuple):
    """The connection that takes an address over."""

    connection: ConnectionId
    identity: IdentityId
    peer: Endpoint


class AddressHolder(Protocol):
    """The tunnel that serves an address, in whatever worker it is."""

    @property
    def identity(self) -> IdentityId: ...

    @property
    def connection(self) -> ConnectionId: ...

    @property
    def peer(self) -> Endpoint:
        """The peer of its connection."""
        ...

    @property
    def silent_for(self) -> float:
        """Seconds since its client's last sign of life, once that leaves a keepalive unanswered; 0 before."""
        ...

    async def alive(self, seconds: float) -> bool:
        """Whether its client gives a sign of life within `seconds`."""
        ...

    async def give_way(self, to: Taker) -> None:
        """Give the address up to `to`. To another connection of its identity it hands the address over, and visitors that
        it serves may stay a while. To another identity it loses the address, as the registry has decided."""
        ...


class Holders(Protocol):
    """All holders, by address and by identity."""

    async def at(self, address: Address) -> AddressHolder | None:
        """The holder of `address`; None if no tunnel serves it."""
        ...

    async def addresses_of(self, identity: IdentityId) -> Sequence[Address]:
        """The addresses of the tunnels that an identity holds, over all its connections."""
        ...

    def claiming(self, identity: IdentityId) -> AbstractAsyncContextManager[None]:
        """A lock per identity: one claim or late release at a time."""
        ...
