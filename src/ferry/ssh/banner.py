"""The login banner of somebody: people who publish http learn their address even under `ssh -N`."""

from __future__ import annotations

from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.names import Identity

from .notices import banner_for, first_banner_for
from .services import Services


async def own_address_banner(services: Services, identity: Identity) -> str | None:
    """An identity that has nothing yet is told what `-R 80:...` will give it; one that only has ports is told nothing.

    Raises StoreUnavailable.
    """
    reservations = await services.registry.reservations(identity.id)
    hosts = [r.address.name for r in reservations if kind_of(r.address.kind).has_host]
    if hosts:
        return banner_for(hosts, services.urls)
    if reservations:
        return None
    address = next(HTTP.candidate_addresses(identity.id, services.secret, services.rules, ()))
    taken = await services.registry.reservation(address, now=services.clock.now(), keep=services.rules.keep)
    return None if taken else first_banner_for(address.name, services.urls)
