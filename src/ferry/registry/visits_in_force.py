"""The policy of visits that is in force now. A reload replaces it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ferry.callbacks import call_each
from ferry.policy.visits import VisitPolicy

_log = logging.getLogger("ferry.registry")


class VisitsInForce:
    """One for all edges and connections of a worker. A kept decision is valid while `policy` is the same object: a policy
    never changes, so the object is its own revision."""

    def __init__(self, policy: VisitPolicy) -> None:
        self.policy = policy
        self.on_change: list[Callable[[], None]] = []
        """Callbacks; each is called after another policy has come into force."""

    def use(self, policy: VisitPolicy) -> None:
        """Decide by `policy` from now on. Open streams stay open."""
        self.policy = policy
        call_each(_log, "a part of the gateway failed to take another policy of visits", self.on_change)
