"""Decides what a client may reach through the gateway: the targets of `direct-tcpip` opens (RFC 4254 §7.2), which `-L`, `-D`,
`-W` and `-J` make.

`ssh/direct.py` looks a target up, and these functions decide on what it has found, each time: when the channel opens, and
again when the key's line has other options. A client reaches what is its own. For anything else the operator has to name
the target for it; `Wanted.named` is the one place that knows how.

A host of the network is decided in two steps. `decide_host` sees the name, before anybody looks it up; `decide_address`
sees each address that the name leads to, and the gateway connects to that very address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final

from ferry.errors import InvalidInput, Refusal
from ferry.names import Endpoint, Identity, printable
from ferry.protocol.targets import IpAddress, parse_target_host, shown_host

from . import sshd
from .addresses import is_itself, special
from .grants import Grant, HostGrant, grant_host
from .judge import Judge
from .keys import KeyLine, names_open, open_refusal
from .permitted import to_open
from .rules import Naming, Rule
from .sshd import UNSET, SshdOptions
from .visits import Target, VisitPolicy

_LOOPBACK: Final = IPv4Address("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One open: who asks, and the target as the client has sent it."""

    who: Identity
    line: KeyLine
    """The line of the key files by which `who` is here."""
    host: bytes
    port: int
    judge: Judge | None = None
    """The operator's policy; None without a policy file."""
    sshd: SshdOptions = UNSET
    """The operator's settings with sshd's names that count for `who`."""

    @property
    def named(self) -> bool:
        """Whether the operator has named this target for `who`, so that it need not be its own: `permitopen=` in
        its line, or where there is a policy file, a rule for a host."""
        if self.judge is None:
            return names_open(self.line, self.host, self.port)
        return not isinstance(self.judge.reach_host(self.text, self.port), Refusal)

    @property
    def host_rule(self) -> Rule | None:
        """The rule of the policy that allows the target as a host of the network; None without one."""
        rule = None if self.judge is None else self.judge.reach_host(self.text, self.port)
        return None if isinstance(rule, Refusal) else rule

    @property
    def text(self) -> str:
        """The host."""
        return self.host.decode("utf-8", "backslashreplace")

    def written(self, host: Host, found: IpAddress, how: Naming) -> bool:
        """Whether the operator has written the address that was found, and not a pattern or a network that it is in."""
        if self.judge is not None and isinstance(self.judge.reach_host(self.text, self.port, how), Refusal):
            return False
        return host.is_written(found)

    def to_gateway(self, found: IpAddress, *, here: bool) -> bool:
        """Whether the gateway itself listens on the port, at an address that leads to this host."""
        return self.judge is not None and self.port in self.judge.book.services and (here or is_itself(found))


def key_refusal(wanted: Wanted) -> Refusal | None:
    """The refusal by the options of the key's line, or by the operator's settings, whatever the target turns out to be."""
    refused = open_refusal(wanted.line, wanted.host, wanted.port)
    return refused or sshd.open_refusal(wanted.sshd, wanted.host, wanted.port)


def decide_tunnel(wanted: Wanted, target: Target, visits: VisitPolicy, *, loop: bool = False) -> Grant | Refusal:
    """Whether `wanted` may have a stream to the tunnel that it means. `loop`: the tunnel is of the same connection, which
    reaches itself so, and needs no rule for that."""
    if (refusal := key_refusal(wanted)) is not None:
        return refusal
    if wanted.judge is None or loop:
        decided = visits.decide(wanted.who, replace(target, named=wanted.named or loop))
        if isinstance(decided, Refusal) and target.owner not in (None, wanted.who.id):
            permit = f'permitopen="{to_open(wanted.host, wanted.port)}"'
            decided = replace(decided, detail=f"{decided.detail}: its line has no {permit}")
        return decided
    rule = wanted.judge.reach(target.called or target.address)
    if isinstance(rule, Refusal):
        by_port = wanted.judge.reach(target.address)
        if isinstance(by_port, Refusal):
            return rule  # that of the name: the other one has the number of the port
        rule = by_port
    decided = visits.decide(wanted.who, replace(target, named=True))
    return decided if isinstance(decided, Refusal) else replace(decided, rule=rule)


@dataclass(frozen=True, slots=True)
class Host:
    """A host that the operator has named."""

    name: str
    """For the resolver, or for people if it is an address."""
    address: IpAddress | None
    """If it is one."""

    def is_written(self, found: IpAddress) -> bool:
        """Whether the operator has written the address that was found: its number, or `localhost`, which is always
        loopback (RFC 6761 §6.3)."""
        return found == self.address or (self.name == "localhost" and found.is_loopback)


def decide_host(wanted: Wanted) -> Host | Refusal:
    """The host that `wanted` means, if the operator has named it."""
    if (refusal := key_refusal(wanted)) is not None:
        return refusal
    if wanted.judge is not None:
        rule = wanted.judge.reach_host(wanted.text, wanted.port)
        if isinstance(rule, Refusal):
            return rule
    elif not wanted.named:
        return unknown(wanted)
    try:
        host = parse_target_host(wanted.host)
    except InvalidInput as error:
        return Refusal(str(error), code="target_form")
    return Host(host, None) if isinstance(host, str) else Host(str(host), host)


def decide_address(wanted: Wanted, host: Host, found: IpAddress, *, here: bool) -> HostGrant | Refusal:
    """Whether `wanted` may be connected to an address that `host` leads to. `here`: it is one of this host's own."""
    why = special(found) or ("this host" if here else None)
    if why is not None and not wanted.written(host, found, Naming.HOST):
        by = "permitopen=" if wanted.judge is None else "a rule of the policy"
        how = "by this name" if host.address is None else "by a rule for a pattern or a network"
        return Refusal(
            f"the gateway does not connect there {how}: its operator can allow the address by its number",
            code="target_address",
            detail=f"{host.name} leads to {found}, which is {why}: {by} has to name that address itself",
            rule=_decided_by(wanted),
        )
    if wanted.to_gateway(found, here=here) and not wanted.written(host, found, Naming.PORT):
        return Refusal(
            "the gateway does not connect to a port of its own by a rule for several ports: its operator can allow the port "
            "by its number",
            code="target_address",
            detail=f"port {wanted.port} of {found} is the gateway's own: a rule of the policy has to name that port itself",
            rule=_decided_by(wanted),
        )
    return grant_host(Endpoint(str(found), wanted.port))


def _decided_by(wanted: Wanted) -> str | None:
    """The rule of the policy that names the target, though not well enough; None without a policy file."""
    return None if (rule := wanted.host_rule) is None else str(rule)


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What becomes of a connection to a host, before anybody looks its name up."""

    host: Host
    rule: Rule | None
    """Of the operator's policy; None without a policy file: then the key's `permitopen=` names the host."""
    condition: str
    """What has to be so besides, for people."""


def explain_host(wanted: Wanted, host: Host) -> HostAnswer | Refusal:
    """What `decide_address` will say, as far as the name alone tells it. `host` is what `decide_host` has granted."""
    written = host.address is not None or host.name == "localhost"
    condition = "if it is there and its address is no special one"
    if written:
        # `localhost` is looked up too, and whatever address of loopback is found has the same answer
        found = host.address or _LOOPBACK
        if isinstance(refusal := decide_address(wanted, host, found, here=False), Refusal):
            return refusal
        condition = "if it answers"
        how = Naming.PORT if wanted.to_gateway(found, here=True) else Naming.HOST
        if not wanted.written(host, found, how):
            condition = "if it answers and is no address of the gateway itself"
    return HostAnswer(host, wanted.host_rule, condition)


def unknown(wanted: Wanted) -> Refusal:
    """The refusal of a target that is neither a tunnel's nor named by the operator."""
    shown = printable(shown_host(wanted.host), 80)
    return Refusal(
        "through this gateway you can reach your own aliases and ports only: for others ask for permitopen= in the line "
        "of your key",
        code="not_yours",
        detail=f"{wanted.who} asked for {shown}:{wanted.port}, which is no tunnel's, and permitopen= does not name it",
    )
