"""May this identity publish this? And under which addresses, in which order of preference?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import Domain
from ferry.names import Address, Identity, Kind, parse_label
from ferry.protocol.forward_spec import Wanted

from .derived import derived_labels, derived_ports


@dataclass(frozen=True, slots=True)
class Span:
    """A range of TCP ports with one purpose."""

    first: int
    last: int
    loopback: bool

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """The operator's rules, as values."""

    domain: Domain
    reserved_names: frozenset[str]
    spans: tuple[Span, ...]
    allocate_from: Span | None
    """Where `-R 0:...` is allocated; None turns it off."""
    keep: float
    rest: float
    reserve_after: float
    """Seconds of use before a name is reserved; 0 reserves at first use."""
    reservations_per_identity: int
    reservations_per_network: int | None
    """New reservations a day from one network; None: no limit."""
    forwards_per_connection: int
    forwards_per_identity: int

    def web_address(self, label: str) -> Address:
        """The web address of a label."""
        return Address(Kind.HTTP, self.domain.host(label))

    def span_of(self, port: int) -> Span | None:
        """The range that `port` is in."""
        return next((span for span in self.spans if port in span), None)


def check_counts(rules: ForwardRules, *, on_connection: int, of_identity: int, gateway: str) -> Refusal | None:
    """The refusal where the connection or the identity holds as many forwards as it may. `gateway` is what is typed
    after `ssh`."""
    if on_connection >= rules.forwards_per_connection:
        return Refusal(
            f"this connection holds {on_connection} forwards, which is the limit: open another connection",
            code="connection_limit",
        )
    if of_identity >= rules.forwards_per_identity:
        return Refusal(
            f"you hold {of_identity} forwards, which is the limit: close one (`ssh {gateway} ls` lists them)",
            code="identity_limit",
        )
    return None


def requested(wanted: Wanted, rules: ForwardRules, identity: Identity) -> Address | Refusal | None:
    """The one address that was asked for by name or number; None when the choice is ours."""
    match wanted.kind:
        case Kind.HTTP:
            if wanted.name is None:
                return None
            return _reserved(wanted.name, rules) or rules.web_address(wanted.name)
        case Kind.ALIAS:
            assert wanted.name is not None
            if identity.anonymous:
                return Refusal("a private alias needs a key: only its owner can reach it", code="needs_key")
            return _reserved(wanted.name, rules) or Address(Kind.ALIAS, wanted.name, wanted.port)
        case _:
            return _requested_port(wanted.port, rules)


def _reserved(label: str, rules: ForwardRules) -> Refusal | None:
    if label not in rules.reserved_names:
        return None
    return Refusal(f"the name {label!r} is reserved by the operator: ask for another", code="reserved_name")


def _requested_port(port: int, rules: ForwardRules) -> Address | Refusal | None:
    if port == 0:
        if rules.allocate_from is None:
            return Refusal("this gateway allocates no ports: ask for a name with -R NAME:80:...", code="no_ports")
        return None
    if rules.span_of(port) is None:
        spans = " and ".join(f"{span.first} to {span.last}" for span in rules.spans) or "none"
        hint = f"-R NAME:{port}:... for a private alias, or -R NAME:80:... for a web address"
        return Refusal(
            f"port {port} is outside the ports that may be forwarded ({spans}): ask for one of those, "
            f"-R 0:... for any, {hint}",
            code="port_outside",
        )
    return Address(Kind.TCP, "", port)


def ours_to_choose(
    wanted: Wanted, rules: ForwardRules, identity: Identity, secret: bytes, had: Sequence[Address]
) -> Iterator[Address]:
    """Addresses to try, in order, when the choice is ours: what this identity was given before, then new ones."""
    seen = set()
    for address in had:
        span = rules.span_of(address.port) if address.kind is Kind.TCP else None
        fits = address.kind is wanted.kind and (address.kind is not Kind.TCP or span == rules.allocate_from)
        if fits:
            seen.add(address)
            yield address
    if wanted.kind is Kind.HTTP:
        fresh = (rules.web_address(label) for label in derived_labels(secret, identity.id))
    else:
        assert rules.allocate_from is not None
        span = rules.allocate_from
        ports = derived_ports(secret, identity.id, span.first, span.last)
        fresh = (Address(Kind.TCP, "", port) for port in ports)
    for address in fresh:
        if address not in seen:
            seen.add(address)
            yield address


def login_name_address(user: str, rules: ForwardRules) -> Address | None:
    """The web address that a login name would stand for, if it can be one."""
    try:
        label = parse_label(user)
    except InvalidInput:
        return None
    return None if label in rules.reserved_names else rules.web_address(label)
