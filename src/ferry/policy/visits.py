"""Decides on visits to a tunnel: for each visitor, or once for all of them if no rule distinguishes two visitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.names import Address, Identity, IdentityId

from .grants import Grant, grant_visit
from .principals import Principal, PublicVisitor

_ANYBODY: Final = PublicVisitor("", "")


@dataclass(frozen=True, slots=True)
class Target:
    """The address that a principal wants to visit. `owner` is None if no tunnel serves it."""

    address: Address
    owner: IdentityId | None
    private: bool = False
    """Only its owner may visit, although tunnels of its kind are public: it is asked for over SSH, and the network may not
    reach it."""
    named: bool = False
    """The operator has named it for this visitor (`policy.reach`)."""
    called: Address | None = None
    """What the visitor has asked for, if that is the name of a machine and not the address."""
    holder: str = ""
    """Whose tunnel serves it, for the operator; empty: the id of the owner is told."""


class VisitRule(Protocol):
    """A rule in addition to Ferry's own. It can refuse a visit; it cannot allow one that Ferry's own rules refuse."""

    def depends_on_visitor(self, target: Target) -> bool:
        """Whether two public visitors of `target` may get different answers. If not, the policy asks the rule once,
        about a visitor with an empty address, and uses the answer for all of them."""
        ...

    def refusal(self, who: Principal, target: Target) -> Refusal | None:
        """The reason why `who` may not visit, with `rule` set; None if this rule has no objection."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class VisitPolicy:
    """All rules in force. A policy never changes; a reload makes a new one (`registry.visits_in_force`). So a decision
    for all visitors is valid while the same policy is in force."""

    gateway: str
    """The text to type after `ssh`."""
    rules: tuple[VisitRule, ...] = ()

    def decide(self, who: Principal, target: Target) -> Grant | Refusal:
        """Whether `who` may open streams to `target`."""
        owner = target.owner
        if owner is None or not _is_open_to(who, target):
            return self._refusal(who, target)
        for rule in self.rules:
            if (refusal := rule.refusal(who, target)) is not None:
                return refusal
        return grant_visit(target.address, owner)

    def decide_for_all(self, target: Target) -> Grant | Refusal | None:
        """The one decision for all public visitors; None if two of them may get different answers."""
        if any(rule.depends_on_visitor(target) for rule in self.rules):
            return None
        return self.decide(_ANYBODY, target)

    def _refusal(self, who: Principal, target: Target) -> Refusal:
        """The refusal. It is the same for a missing alias or port and for another identity's, so that nobody can probe
        them."""
        address, owner = target.address, target.owner
        if isinstance(who, PublicVisitor):
            return Refusal(f"{address} is private: reach it with ssh -J or ssh -W", code="private")
        whose = "nobody serves" if owner is None else f"belongs to {target.holder or f'identity {owner}'}"
        asked = target.called or address
        public = kind_of(asked.kind).public
        shown, code = (str(asked), "no_such_port") if public else (f"alias {asked}", "no_such_alias")
        return Refusal(
            f"no {shown} here for you: `ssh {self.gateway} ls` lists yours",
            code=code,
            detail=f"{who} asked for {address}, which {whose}",
        )


def _is_open_to(who: Principal, target: Target) -> bool:
    """Whether Ferry's own rules allow the visit. A tunnel of a public kind is open to everybody, unless the target is
    `private`; an alias is open to its own identity only, and to those for whom the operator has named it. Whether the
    network can reach a port at all depends on the range's `listen = loopback | public`."""
    public = kind_of(target.address.kind).public
    if target.named or (public and not target.private):
        return True
    return isinstance(who, Identity) and who.id == target.owner and (public or not who.anonymous)
