"""The login banner: one line or none, which a client sees under `ssh -N` too.

It is written before the gateway can know what the connection is for: a banner is part of the log-in (RFC 4252 §5.4), and
stock ssh prints no text of the gateway's later, unless it has a session or `-v`. So it says only what holds for any
connection, and what no session says again: the address that `-R 80:...` will give to an identity that is new here, a
refused forward that nobody has seen, or that the names will soon be used up. `ssh -J`, `-W`, `sftp` and commands get
nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ferry import limits
from ferry.kinds.web import HTTP
from ferry.names import Address, Identity, IdentityId
from ferry.policy.forwards import Judge, listen_grant
from ferry.policy.grants import Grant
from ferry.policy.keys import KeyLine, listen_refusal
from ferry.policy.rulebook import Rulebook
from ferry.policy.rules import Asker
from ferry.registry.contract import Registry, Reservation

from .notices import Notices
from .refusals import RefusedForwards

_NEW: Final = -1
_NO_HOST: Final = b"localhost"  # as ssh sends `-R 80:...`
_WEB_PORT: Final = 80


class Banners:
    """The banners of one server. It remembers what it has said to the `limits.BANNER_IDENTITIES` identities that logged
    in last. `secret` derives names that the gateway chooses."""

    def __init__(self, registry: Registry, refusals: RefusedForwards, secret: bytes) -> None:
        self._registry = registry
        self._refusals = refusals
        self._secret = secret
        self._warned: OrderedDict[IdentityId, int] = OrderedDict()
        """By identity, the number of its names at the last warning; 0 without one."""

    async def banner(
        self, identity: Identity, key_line: KeyLine, notices: Notices, book: Rulebook | None, *, now: float
    ) -> str | None:
        """The banner for an identity that logs in by `key_line`. `book` is the operator's policy; `now` is in seconds since
        the epoch. Raises StoreUnavailable."""
        reserved = await self._registry.reservations(identity.id)
        warned = self._warned.pop(identity.id, _NEW)
        self._warned[identity.id] = max(warned, 0)
        if len(self._warned) > limits.BANNER_IDENTITIES:
            self._warned.popitem(last=False)
        is_new = warned == _NEW and not reserved and listen_refusal(key_line, _NO_HOST, _WEB_PORT) is None
        line = await self._first(identity, notices, book, now) if is_new else None
        return line or self._refused(identity, notices) or self._near_limit(identity, notices, reserved, warned)

    async def _first(self, identity: Identity, notices: Notices, book: Rulebook | None, now: float) -> str | None:
        """The address for a new identity, if the rules will give it one, from wherever it may come."""
        judge = None if book is None else Judge(book, Asker.of(identity, "", "", now))

        def may_have(address: Address) -> bool:
            return isinstance(listen_grant(identity, address, notices.rules, judge), Grant)

        candidates = HTTP.candidate_addresses(identity.id, self._secret, notices.rules, ())
        address = next(filter(may_have, candidates), None)
        if address is None:
            return None
        taken = await self._registry.reservation(address, now=now, keep=notices.rules.keep)
        return None if taken else notices.first_banner(address.name)

    def _refused(self, identity: Identity, notices: Notices) -> str | None:
        refused = self._refusals.take_unseen(identity.id)
        return None if refused is None else notices.refused_banner(refused)

    def _near_limit(
        self, identity: Identity, notices: Notices, reserved: Sequence[Reservation], warned: int
    ) -> str | None:
        """The names, if few more can be reserved and their number has changed since the last warning."""
        count, most = len(reserved), notices.rules.reservations_per_identity
        if count < limits.NAMES_NEAR_LIMIT * most or count == warned:
            return None
        self._warned[identity.id] = count
        return notices.names_banner(count, most)
