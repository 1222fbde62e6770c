"""The login banner with an identity's web addresses. A client sees it even under `ssh -N`."""

from __future__ import annotations

from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.names import Address, Identity
from ferry.policy.forwards import listen_grant
from ferry.policy.grants import Grant
from ferry.registry.contract import Registry

from .notices import Notices


async def own_address_banner(
    identity: Identity, notices: Notices, registry: Registry, *, secret: bytes, now: float
) -> str | None:
    """The banner for an identity: its web addresses, or the address that `-R 80:...` will give it if it has no
    reservation. None for an identity with ports only. The banner names no address that the rules refuse to it.

    `secret` derives names that the gateway chooses; `now` is in seconds since the epoch. Raises StoreUnavailable.
    """

    def may_have(address: Address) -> bool:
        return isinstance(listen_grant(identity, address, notices.rules), Grant)

    reserved = [reservation.address for reservation in await registry.reservations(identity.id)]
    hosts = [address.name for address in reserved if kind_of(address.kind).has_host and may_have(address)]
    if hosts:
        return notices.banner(hosts)
    if reserved:
        return None
    address = next(filter(may_have, HTTP.candidate_addresses(identity.id, secret, notices.rules, ())), None)
    if address is None:
        return None
    taken = await registry.reservation(address, now=now, keep=notices.rules.keep)
    return None if taken else notices.first_banner(address.name)
