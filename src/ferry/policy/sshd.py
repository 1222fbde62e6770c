"""What the operator's settings with sshd's names let a client do: `[sshd]` of the configuration (sshd_config(5)).

As in sshd, the first `[[sshd.match]]` that a client meets and that sets a keyword decides on it; else the value for all
does. Where nothing is set, Ferry's own rules count.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final, NamedTuple

from ferry.errors import Refusal
from ferry.kinds.rules import GatewayPorts
from ferry.names import Endpoint, Identity, printable
from ferry.protocol.host_patterns import HostList
from ferry.protocol.key_algorithms import ALL, SIGNATURES, of_certificate
from ferry.protocol.permits import ANYWHERE, Permit
from ferry.protocol.sshd_config import in_patterns

from .permitted import by_port, instead, listed, listens, names_socket, opens, to_listen, to_open
from .rulebook import Rulebook
from .rules import Asker


class Forwarding(enum.Flag):
    """The directions of AllowTcpForwarding and AllowStreamLocalForwarding."""

    NONE = 0
    LOCAL = enum.auto()
    """The gateway dials: `-L`, `-D`, `-J`, `-W`."""
    REMOTE = enum.auto()
    """The gateway listens: `-R`."""
    ALL = LOCAL | REMOTE


@dataclass(frozen=True, slots=True)
class SshdOptions:
    """The settings that count for somebody. None: not set."""

    allow_tcp_forwarding: Forwarding | None = None
    gateway_ports: GatewayPorts | None = None
    permit_listen: tuple[Permit, ...] | None = None
    """Where forwards may listen; without an entry nowhere."""
    permit_open: tuple[Permit, ...] | None = None
    """Where `-L`, `-D`, `-J` and `-W` may lead; without an entry nowhere."""
    disable_forwarding: bool | None = None
    max_sessions: int | None = None
    client_alive_interval: float | None = None
    """Seconds of silence after which the client is asked for a sign of life; 0: never."""
    client_alive_count_max: int | None = None
    """Such intervals after which it is gone."""
    allow_streamlocal_forwarding: Forwarding | None = None
    """Of Unix sockets. Not set: none."""
    streamlocal_bind_unlink: bool | None = None
    """A socket that nobody listens on gives way to a new one."""
    keys_needed: int | None = None
    """The different keys that a log-in needs (AuthenticationMethods). 0: as the gateway lets anybody in."""
    pubkey_accepted_algorithms: frozenset[str] | None = None
    """The algorithms with which a key may sign in a log-in, with a certificate by their own names."""
    places: Mapping[str, str] = field(default_factory=dict)
    """Where each of them is written: `/etc/ferry/ferry.toml, line 27: sshd.match 2: permit_open`."""

    def over(self, later: SshdOptions) -> SshdOptions:
        """These settings, and those of `later` which these do not set."""
        added = {
            name: value
            for name in _SETTINGS
            if getattr(self, name) is None and (value := getattr(later, name)) is not None
        }
        if not added:
            return self
        places = {**self.places, **{name: later.places[name] for name in added if name in later.places}}
        return replace(self, **added, places=places)

    def rule(self, name: str) -> str:
        """Where a setting is written, for the log."""
        return self.places.get(name, f"sshd.{name}")


_SETTINGS: Final = tuple(each.name for each in fields(SshdOptions) if each.name != "places")
UNSET: Final = SshdOptions()


ANY_END: Final = Endpoint("", 0)
"""In place of the gateway's own end, where nobody knows to which one a client will come."""


class Who(NamedTuple):
    """A client, as far as `[[sshd.match]]` looks at it."""

    user: str
    """The login name."""
    identity: Identity
    address: str
    """Numeric."""
    local: Endpoint
    """The gateway's own end of the connection."""


@dataclass(frozen=True, slots=True)
class Match:
    """One `[[sshd.match]]`. All criteria that are set must hold."""

    options: SshdOptions
    user: str = ""
    """Patterns with commas, as behind `Match User`; so are `identity` and `tag`."""
    identity: str = ""
    tag: str = ""
    address: HostList | None = None
    local_address: HostList | None = None
    local_port: tuple[int, ...] = ()

    def may_hold(self, who: Who, book: Rulebook | None) -> bool:
        """Whether a client with this identity meets all criteria from some address, or by some login name if `who` has
        none."""
        return (
            (not self.user or not who.user or in_patterns(who.user, self.user))
            and (not self.identity or _is_one_of(who.identity, self.identity))
            and (not self.tag or _are_meant(_tags_of(who.identity, book), self.tag))
        )

    def holds(self, who: Who, book: Rulebook | None) -> bool:
        """Whether a client meets all criteria. The operator's rules have the tags."""
        return (
            self.may_hold(who, book)
            and (not self.user or in_patterns(who.user, self.user))
            and (self.address is None or self.address.admits(who.address, who.address))
            and (self.local_address is None or self.local_address.admits(who.local.host, who.local.host))
            and (not self.local_port or who.local.port in self.local_port)
        )


def _is_one_of(identity: Identity, patterns: str) -> bool:
    """Whether patterns mean an identity. Who has a certificate is meant by its CA and key id, which stay when it is renewed,
    and by its key."""
    names = [identity.name or identity.fingerprint or ""]
    if (certificate := identity.certificate) is not None:
        names.append(certificate.holder)
    return _are_meant(names, patterns)


def _tags_of(identity: Identity, book: Rulebook | None) -> Sequence[str]:
    return () if book is None else book.tags_of(Asker.of(identity, "", "", 0.0))


def _are_meant(names: Sequence[str], patterns: str) -> bool:
    """Whether patterns mean somebody who has all of `names`."""
    left_out = any(not in_patterns(name, f"*,{patterns}") for name in names)
    return not left_out and any(in_patterns(name, patterns) for name in names)


@dataclass(frozen=True, slots=True)
class SshdRules:
    """All of `[sshd]`."""

    options: SshdOptions = UNSET
    """For all."""
    matches: tuple[Match, ...] = ()
    book: Rulebook | None = None
    """The operator's policy, which has the tags; None without a policy file."""

    def of(self, who: Who) -> SshdOptions:
        """The settings that count for a client."""
        found = UNSET
        for match in self.matches:
            if match.holds(who, self.book):
                found = found.over(match.options)
        return found.over(self.options)

    @property
    def signatures(self) -> list[str]:
        """The algorithms with which anybody at all may sign: nobody is told to try another one."""
        every = [each.pubkey_accepted_algorithms for each in (self.options, *(match.options for match in self.matches))]
        if every[0] is None:
            return list(SIGNATURES)
        accepted = frozenset[str]().union(*(each for each in every if each is not None))
        return [name for name in SIGNATURES if name in accepted or of_certificate(name) in accepted]


NO_RULES: Final = SshdRules()


# --- decisions


def _direction_refusal(options: SshdOptions, direction: Forwarding, what: str) -> Refusal | None:
    if options.disable_forwarding:
        return Refusal(
            "the operator has turned all forwarding off for you (DisableForwarding)",
            code="sshd_forwarding",
            detail="DisableForwarding turns all its forwarding off",
            rule=options.rule("disable_forwarding"),
        )
    allowed = options.allow_tcp_forwarding
    if allowed is None or direction in allowed:
        return None
    return Refusal(
        f"the operator does not let you {what} (AllowTcpForwarding): only the operator can change that",
        code="sshd_forwarding",
        detail=f"AllowTcpForwarding does not let it {what}",
        rule=options.rule("allow_tcp_forwarding"),
    )


def listening_refusal(options: SshdOptions) -> Refusal | None:
    """The refusal of all forwards with `-R`."""
    return _direction_refusal(options, Forwarding.REMOTE, "open anything with -R")


def listen_refusal(options: SshdOptions, host: bytes, port: int, names: Sequence[str] = ()) -> Refusal | None:
    """The refusal of a request to listen on `port` of `host`; as `ferry.policy.keys.listen_refusal`."""
    if (off := listening_refusal(options)) is not None:
        return off
    permits = options.permit_listen
    if permits is None or listens(permits, host, port, names):
        return None
    if not permits:
        why, advice = "the operator lets you listen nowhere (PermitListen)", ""
    else:
        permits = by_port(permits, port)
        why = f"the operator lets you listen on {listed(permits)} only (PermitListen)"
        advice = f": {instead(permits, port)}"
    asked = to_listen(host, port)
    return Refusal(
        f"{why}, not on {asked}{advice}",
        code="sshd_listen",
        detail=f"PermitListen has {listed(permits) or 'none'}, not {asked}",
        rule=options.rule("permit_listen"),
    )


def open_refusal(options: SshdOptions, host: bytes, port: int) -> Refusal | None:
    """The refusal of a connection through the gateway to `port` of `host`, as the client has sent them (RFC 4254 §7.2).

    PermitOpen narrows and never adds a right: the settings that count may follow from the login name, which a client
    chooses."""
    off = _direction_refusal(options, Forwarding.LOCAL, "reach anything with -L, -D, -J or -W")
    if off is not None:
        return off
    permits = options.permit_open
    if permits is None or opens(permits, host, port):
        return None
    allowed = f"{listed(permits)} only" if permits else "nothing"
    return Refusal(
        f"the operator lets you reach {allowed} (PermitOpen), not {to_open(host, port)}",
        code="sshd_open",
        detail=f"PermitOpen has {listed(permits) or 'none'}",
        rule=options.rule("permit_open"),
        repeats_input=True,
    )


def socket_refusal(options: SshdOptions, path: str, *, listens: bool) -> Refusal | None:
    """The refusal of a forward (`listens`) or a connection to the Unix socket at `path`. Where PermitListen or PermitOpen is
    set, it has to name it."""
    allowed = options.allow_streamlocal_forwarding or Forwarding.NONE
    direction = Forwarding.REMOTE if listens else Forwarding.LOCAL
    if options.disable_forwarding or direction not in allowed:
        what = "open no Unix sockets with -R" if listens else "reach no Unix sockets with -L"
        name = "disable_forwarding" if options.disable_forwarding else "allow_streamlocal_forwarding"
        return Refusal(
            f"the operator lets you {what} (AllowStreamLocalForwarding)",
            code="sshd_socket",
            detail=f"{'DisableForwarding' if options.disable_forwarding else 'AllowStreamLocalForwarding'}: it may {what}",
            rule=options.rule(name),
        )
    name = "permit_listen" if listens else "permit_open"
    permits = options.permit_listen if listens else options.permit_open
    if permits in (None, ANYWHERE) or names_socket(permits or (), path):
        return None
    return Refusal(
        f"the operator does not let you use this socket ({'PermitListen' if listens else 'PermitOpen'})",
        code="sshd_socket",
        detail=f"{'PermitListen' if listens else 'PermitOpen'} does not name this socket",
        rule=options.rule(name),
    )


def algorithm_refusal(options: SshdOptions, algorithms: Iterable[str]) -> Refusal | None:
    """The refusal of a key that signs with one of these algorithms, or asks whether it may."""
    accepted = options.pubkey_accepted_algorithms
    if accepted is None or (other := next((name for name in algorithms if name not in accepted), None)) is None:
        return None
    instead = ", ".join(name for name in ALL if name in accepted)
    return Refusal(
        f"your key signs with {printable(other, 60)}, which the operator does not accept here (PubkeyAcceptedAlgorithms)"
        + (f": use one of {instead}" if instead else ""),
        code="sshd_algorithm",
        detail=f"PubkeyAcceptedAlgorithms does not take {printable(other, 60)}",
        rule=options.rule("pubkey_accepted_algorithms"),
    )


def limits_of(options: SshdOptions) -> list[str]:
    """What a client may not do, for people."""
    if options.disable_forwarding:
        return ["The operator has turned all forwarding off for you (DisableForwarding)."]
    found: list[str] = []
    allowed = Forwarding.ALL if options.allow_tcp_forwarding is None else options.allow_tcp_forwarding
    if Forwarding.REMOTE not in allowed:
        found.append("You may open nothing with -R here (AllowTcpForwarding).")
    elif options.permit_listen not in (None, ANYWHERE):
        where = f"on {listed(options.permit_listen)} only" if options.permit_listen else "nowhere"
        found.append(f"You may listen {where} (PermitListen).")
    if Forwarding.LOCAL not in allowed:
        found.append("You may reach nothing with -L, -D, -J and -W here (AllowTcpForwarding).")
    elif options.permit_open not in (None, ANYWHERE):
        what = f"at most {listed(options.permit_open)}" if options.permit_open else "nothing"
        found.append(f"You may reach {what} (PermitOpen).")
    return found
