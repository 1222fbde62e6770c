"""A grant for what the public may visit."""

from __future__ import annotations

from ferry.names import Address
from ferry.policy.grants import Grant
from ferry.policy.visits import public_visit


def public_grant(address: Address) -> Grant:
    grant = public_visit(address)
    assert isinstance(grant, Grant)
    return grant
