"""Who may visit a tunnel."""

from __future__ import annotations

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.names import Address, Identity, IdentityId

from .grants import Grant, grant_visit


def public_visit(address: Address) -> Grant | Refusal:
    """A visitor from the internet may open whatever is of a public kind; an alias never.

    The range's own `listen = loopback | public` decides who can reach a port at all.
    """
    if not kind_of(address.kind).public:
        return Refusal(f"{address} is private: reach it with ssh -J or ssh -W", code="private")
    return grant_visit(address, None)


def alias_visit(address: Address, visitor: Identity, owner: IdentityId, gateway: str) -> Grant | Refusal:
    """An alias is open to its own identity only (rules for others come with bastion policy).

    The refusal is the same as for an alias that does not exist, so that names cannot be probed. `gateway` is what is
    typed after `ssh`.
    """
    if visitor.anonymous or visitor.id != owner:
        return Refusal(
            no_alias(address, gateway),
            code="no_such_alias",
            detail=f"{visitor} asked for {address}, which belongs to identity {owner}",
        )
    return grant_visit(address, visitor.id)


def no_alias(address: Address, gateway: str) -> str:
    """What is said of an alias that is not there, or somebody else's."""
    return f"no alias {address} here for you: `ssh {gateway} ls` lists yours"


def owner_visit(address: Address, owner: Identity) -> Grant:
    """The owner's own grant for its alias: for what the gateway itself does there on its behalf."""
    return grant_visit(address, owner.id)
