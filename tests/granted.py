"""Grants as policy gives them for a tunnel, to its owner and to a visitor from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ferry.errors import Refusal
from ferry.hostnames import Domain
from ferry.kinds.rules import ForwardRules, PortRange
from ferry.names import Address, Identity, IdentityId
from ferry.policy.forwards import listen_grant
from ferry.policy.grants import Grant
from ferry.policy.principals import Principal, PublicVisitor
from ferry.policy.visits import Target, VisitPolicy
from ferry.registry.visits_in_force import VisitsInForce

RULES = ForwardRules(
    domain=Domain("localhost"), reserved_names=frozenset(), ranges=(PortRange(1, 65535, loopback=False),), allocate_from=None,
    serves_web=True, keep=100.0, rest=10.0, reserve_after=0.0, reservations_per_identity=20, reservations_per_network=None,
    forwards_per_connection=3, forwards_per_identity=5,
)  # fmt: skip
"""Every address may be had."""
ANYBODY = PublicVisitor("192.0.2.1", "http")


@dataclass(frozen=True)
class Spot:
    """A possible place of a tunnel."""

    address: Address
    owner: IdentityId


class Owned(Protocol):
    """The part of a tunnel that decisions read."""

    @property
    def address(self) -> Address: ...

    @property
    def owner(self) -> IdentityId: ...


def granted(outcome: Grant | Refusal) -> Grant:
    assert isinstance(outcome, Grant), outcome
    return outcome


def to_listen(tunnel: Owned) -> Grant:
    """The grant that puts `tunnel` into service."""
    return granted(listen_grant(Identity(tunnel.owner, "tester", None), tunnel.address, RULES))


def to_visit(tunnel: Owned, who: Principal = ANYBODY) -> Grant:
    """The grant with which `who` visits the tunnel."""
    return granted(VisitPolicy("gw").decide(who, Target(tunnel.address, tunnel.owner)))


def open_to_all() -> VisitsInForce:
    """A policy with Ferry's own rules only."""
    return VisitsInForce(VisitPolicy("gw"))
