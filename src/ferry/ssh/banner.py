"""The login banner: one line about what the client's owner has not seen yet, or none.

A banner is part of the log-in (RFC 4252 §5.4), so the gateway writes it before it can know what the connection is for,
and most log-ins have none: what a session says belongs into the session, and `ssh -J`, `-W`, `sftp`, `git` and commands
print nothing that nobody asked for. `ssh -N` prints no text of the gateway's after the log-in. So two facts would reach
nobody who always uses it, and are a banner, once each: the last refused forward, and names that will soon be used up.
"""

from __future__ import annotations

from collections import OrderedDict

from ferry import limits
from ferry.names import IdentityId
from ferry.registry.contract import Registry

from .notices import Notices
from .refusals import RefusedForwards


class Banners:
    """The banners of one server. It remembers the warnings of `limits.BANNER_IDENTITIES` identities."""

    def __init__(self, registry: Registry, refusals: RefusedForwards) -> None:
        self._registry = registry
        self._refusals = refusals
        self._warned: OrderedDict[IdentityId, int] = OrderedDict()
        """By identity, the number of its names at the last warning, the latest last."""

    async def banner(self, identity: IdentityId, notices: Notices) -> str | None:
        """The banner for an identity that logs in. Raises StoreUnavailable."""
        if (refused := self._refusals.take_unseen(identity)) is not None:
            return notices.refused_banner(refused)
        count, most = len(await self._registry.reservations(identity)), notices.rules.reservations_per_identity
        if count < limits.NAMES_NEAR_LIMIT * most or count == self._warned.get(identity):
            return None
        self._warned[identity] = count
        self._warned.move_to_end(identity)
        if len(self._warned) > limits.BANNER_IDENTITIES:
            self._warned.popitem(last=False)
        return notices.names_banner(count, most)
