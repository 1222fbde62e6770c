"""The login banner with an identity's web addresses. A client sees it even under `ssh -N`."""

from __future__ import annotations

from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.names import Identity
from ferry.registry.contract import Registry

from .notices import Notices


async def own_address_banner(
    identity: Identity, notices: Notices, registry: Registry, *, secret: bytes, now: float
) -> str | None:
    """The banner for an identity: its web addresses, or the address that `-R 80:...` will give it if it has no
    reservation. None for an identity with ports only.

    `secret` derives names that the gateway chooses; `now` is in seconds since the epoch. Raises StoreUnavailable.
    """
    reservations = await registry.reservations(identity.id)
    hosts = [r.address.name for r in reservations if kind_of(r.address.kind).has_host]
    if hosts:
        return notices.banner(hosts)
    if reservations:
        return None
    address = next(HTTP.candidate_addresses(identity.id, secret, notices.rules, ()))
    taken = await registry.reservation(address, now=now, keep=notices.rules.keep)
    return None if taken else notices.first_banner(address.name)
