"""The login banner of somebody: people who publish http learn their address even under `ssh -N`."""

from __future__ import annotations

from ferry.kinds import kind_of
from ferry.kinds.web import HTTP
from ferry.names import Identity
from ferry.registry.contract import Registry

from .notices import Notices


async def own_address_banner(
    identity: Identity, notices: Notices, registry: Registry, *, secret: bytes, now: float
) -> str | None:
    """An identity that has nothing yet is told what `-R 80:...` will give it; one that only has ports is told nothing.

    `secret` is for names of the gateway's choice, `now` in seconds since the epoch. Raises StoreUnavailable.
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
