"""Decides whether an identity may publish an address, and which addresses the gateway tries in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from ferry.amounts import number
from ferry.errors import InvalidInput, Refusal
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardRequest
from ferry.kinds.rules import ForwardRules
from ferry.names import Address, Identity, Kind, parse_label
from ferry.protocol.socket_path import SOCKET_PORT

from .aims import Act, What
from .allowance import Allowance
from .grants import Grant, grant_listen
from .judge import Judge
from .rules import Rule

_PARTS: Final = 4  # ranges of a policy from which the gateway chooses a port


def check_counts(
    rules: ForwardRules, rule: Rule | None = None, /, *, on_connection: int, of_identity: int, gateway: str
) -> Refusal | None:
    """A refusal if the connection or the identity is at its limit of forwards. `gateway` is the text to type after
    `ssh`. The limit of the `rule` that allows the forward counts for the identity, if it has one."""
    most = rules.forwards_per_identity if rule is None or rule.forwards is None else rule.forwards
    if on_connection >= rules.forwards_per_connection:
        return Refusal(
            f"this connection holds {number(on_connection, 'forward')}, which is the limit: open another connection",
            code="connection_limit",
        )
    if of_identity >= most:
        by_rule = rule is not None and rule.forwards is not None
        return Refusal(
            f"you hold {number(of_identity, 'forward')}, which is the limit{f' of rule {rule.name!r}' if rule and by_rule else ''}: "
            f"close one (`ssh {gateway} ls` lists them)",
            code="identity_limit",
            rule=str(rule) if by_rule else None,
        )
    return None


def limited_by(held: Iterable[Address], rules: ForwardRules, judge: Judge | None) -> dict[Address, Rule | None]:
    """The addresses that an identity holds, each with the rule whose limit of forwards it counts for; None: it counts for
    that of all others."""
    if judge is None:
        return dict.fromkeys(held)
    return {address: _limiting(judge.publish(address, rules)) for address in held}


def count_beside(address: Address, held: Mapping[Address, Rule | None], rule: Rule | None) -> int:
    """The forwards of `limited_by` that count for the same limit as one at `address`, which `rule` allows. One at the very
    address does not: it gives way."""
    limiting = None if rule is None else _limiting(rule)
    return sum(rule is limiting for other, rule in held.items() if other != address)


def _limiting(answer: Rule | Refusal) -> Rule | None:
    return answer if isinstance(answer, Rule) and answer.forwards is not None else None


def requested(request: ForwardRequest, rules: ForwardRules) -> Address | Refusal | None:
    """The one address that the request names; None if the gateway chooses."""
    return kind_of(request.kind).requested(request, rules)


_NOT_LISTED: Final = frozenset({"key_listen", "sshd_listen"})
"""Codes of refusals by a list of what may be opened."""


def request_refusal(
    may: Allowance, request: ForwardRequest, bind: tuple[bytes, int], rules: ForwardRules
) -> Refusal | None:
    """The refusal of a request by the options of the client's key, or by the operator's settings. `bind` is the host and the
    port as the client has sent them. A name needs a permit for it wherever it comes from: in the login name it stands for
    the host."""
    if request.name is None:
        return may.listen_refusal(*bind)
    host, port = bind
    if port == SOCKET_PORT:
        return may.socket_refusal(f"{rules.sockets}/{request.name}", listens=True)
    names = (request.name, rules.domain.host(request.name))
    if not request.by_login_name:
        return may.listen_refusal(host, port, names)
    refusal = may.listen_refusal(request.name.encode(), port, names)
    if refusal is None or refusal.code not in _NOT_LISTED:
        return refusal
    ask = f'permitlisten="{request.name}:{port}"' if refusal.code == "key_listen" else f"{request.name}:{port} in it"
    why = f"your login name means {names[1]}, which you own: log in with another, or ask the operator for {ask}"
    return replace(refusal, public=f"{refusal.public} ({why})")


def listen_grant(
    identity: Identity, address: Address, rules: ForwardRules, judge: Judge | None = None
) -> Grant | Refusal:
    """Whether this identity may have a tunnel at `address`, if it can claim it. This decides on requested addresses,
    and on those that the gateway chooses. `judge` is None without a policy file."""
    kind = kind_of(address.kind)
    if identity.anonymous and (needs_key := kind.without_key()) is not None:
        return needs_key
    label = kind.label_of(address, rules)
    if label in rules.reserved_names:
        return Refusal(f"the operator has reserved the name {label!r}: ask for another", code="reserved_name")
    if (refusal := kind.refuse_address(address, rules)) is not None:
        return refusal
    rule = None if judge is None else judge.publish(address, rules)
    return rule if isinstance(rule, Refusal) else grant_listen(address, identity.id, rule)


def candidate_addresses(
    request: ForwardRequest,
    rules: ForwardRules,
    identity: Identity,
    secret: bytes,
    had: Sequence[Address],
    judge: Judge | None = None,
) -> Iterator[Address]:
    """Addresses to try in order, if the gateway chooses: first this identity's earlier ones (`had`), then new ones. Where
    the policy allows a part of the ports, some of that part follow."""
    again = [address for address in had if address.kind is request.kind]
    seen = set()
    for several in (rules, *_parts(request, rules, judge)):
        for address in kind_of(request.kind).candidate_addresses(identity.id, secret, several, again):
            if address not in seen:
                seen.add(address)
                yield address


def _parts(request: ForwardRequest, rules: ForwardRules, judge: Judge | None) -> Iterator[ForwardRules]:
    """The rules, with one part after another of the ports that the gateway gives: those that the policy allows."""
    whole = rules.allocate_from
    if judge is None or whole is None or not kind_of(request.kind).is_port:
        return
    for _, permit in islice(judge.book.permits_of(judge.asker, Act.PUBLISH, What.PORT), _PARTS):
        first, last = max(permit.first, whole.first), min(permit.last, whole.last)
        if first <= last:
            yield replace(rules, allocate_from=replace(whole, first=first, last=last))


def login_name_address(user: str, kind: Kind, rules: ForwardRules) -> Address | None:
    """The address of this kind that a login name stands for; None if it cannot be one."""
    try:
        label = parse_label(user)
    except InvalidInput:
        return None
    return None if label in rules.reserved_names else kind_of(kind).of_login_name(label, rules)
