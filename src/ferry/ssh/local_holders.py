"""The holders of the addresses that one worker serves."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

from ferry.names import Address, IdentityId
from ferry.registry.holders import AddressHolder

from .locks import KeyedLocks

H = TypeVar("H", bound=AddressHolder)


class LocalHolders(Generic[H]):
    """Implements `registry.holders.Holders` for a gateway of one worker: no other can hold an address."""

    def __init__(self) -> None:
        self._locks = KeyedLocks()
        self._by_address: dict[Address, H] = {}
        self._of_identity: dict[IdentityId, dict[H, Address]] = {}

    # --- Holders

    async def at(self, address: Address) -> H | None:
        return self._by_address.get(address)

    async def addresses_of(self, identity: IdentityId) -> Sequence[Address]:
        return list(self._of_identity.get(identity, {}).values())

    def claiming(self, identity: IdentityId) -> AbstractAsyncContextManager[None]:
        return self._locks(identity)

    # --- the table

    def of(self, identity: IdentityId) -> list[H]:
        """The holders of an identity, in the order in which they were added."""
        return list(self._of_identity.get(identity, ()))

    def add(self, address: Address, holder: H) -> None:
        """Enter the newest holder of `address`."""
        self._by_address[address] = holder
        self._of_identity.setdefault(holder.identity, {})[holder] = address

    def remove(self, address: Address, holder: H) -> None:
        """Remove a holder that was added. A newer one at its address stays."""
        if self._by_address.get(address) is holder:
            del self._by_address[address]
        same = self._of_identity[holder.identity]
        del same[holder]
        if not same:
            del self._of_identity[holder.identity]
