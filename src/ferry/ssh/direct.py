"""Answers a client's `direct-tcpip` opens (RFC 4254 §7.2): `ssh -J gw laptop`, `-W laptop:22`, `-L 8022:laptop:22`, `-D`.

A target is looked up in this order:

1. `localhost`, `127.0.0.1` or `::1` with a TCP port that a tunnel holds: that tunnel. So `ssh -J gw -p 21022
   root@localhost` reaches the machine behind port 21022, and autossh (`-M 20000`) checks its connection through a port of
   its own;
2. an alias of the client's own identity, or of a machine of that name;
3. a machine, by the name of its key: `web-1:22` is the port for ssh that `web-1` holds, `web-1:21022` that very port;
4. any other alias, whose name no key has;
5. a host of the network, likewise, where the operator has named it for the key.

The operator gives the names of keys, so nobody takes the place of a machine by an alias, also while that is away. To a tunnel the bytes go from
channel to channel; only for a host the gateway opens a socket. `policy.reach` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import SSH_PORT, Domain, normal
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.names import Address, parse_label
from ferry.policy.grants import Grant, SocketGrant
from ferry.policy.machine_names import host_refusal, is_own
from ferry.policy.reach import Host, HostAnswer, Wanted, decide_host, decide_tunnel, explain_host, key_refusal
from ferry.policy.sockets import decide_socket
from ferry.policy.visits import Target
from ferry.protocol.forward_spec import LOCAL
from ferry.protocol.socket_path import SOCKET_PORT
from ferry.registry.routes import Routes, Tunnel
from ferry.registry.visits_in_force import VisitsInForce
from ferry.report import Report, by_rule

from .direct_open import HostAt, Reached
from .forward_settings import ForwardsInForce
from .host_visits import Hosts, HostVisit, refusal_at
from .judging import Judged, judge_of
from .open_codes import OWN_PORT, TOO_MANY_OPENS
from .outbound import OutboundVisitor
from .socket_visits import Sockets, SocketVisit
from .splice import ReachReports, TunnelSplice
from .wire.channel import TunnelChannel

_LOCAL: Final = frozenset(host.encode() for host in LOCAL)


class OwnTunnel(Tunnel, Protocol):
    """A tunnel of the client that opens the channel."""

    @property
    def streams(self) -> int:
        """The number of streams that are open or opening."""
        ...


class DirectVisitor(OutboundVisitor, Judged, Protocol):
    """The client that opens the channel."""

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], OwnTunnel]:
        """Its own tunnels, by the bind address and port of its requests."""
        ...

    def open_refused(self, host: bytes, port: int, why: str, /) -> None:
        """Tell the person that the stream of a granted open was refused."""
        ...


class Dialled(Hosts, Sockets, Protocol):
    """Connects to hosts, and to Unix sockets."""


class DirectChannels:
    """Opens the targets of `direct-tcpip` requests."""

    __slots__ = ("_clock", "_closed", "_domain", "_hosts", "_in_force", "_report", "_routes", "_visits")

    def __init__(
        self,
        routes: Routes,
        visits: VisitsInForce,
        hosts: Dialled,
        in_force: ForwardsInForce,
        *,
        domain: str,
        clock: Clock,
        report: Report,
        closed: Callable[[], Refusal | None] = lambda: None,
    ) -> None:
        """`closed` says why nothing new may open now, if so."""
        self._closed = closed
        self._in_force = in_force
        self._hosts = hosts
        self._report = report
        self._routes = routes
        self._visits = visits
        self._domain = Domain(domain)
        self._clock = clock

    def open(self, visitor: DirectVisitor, host: bytes, port: int) -> TunnelChannel | Refusal:
        """The channel for a `direct-tcpip` open. It is confirmed after the local service or the host has answered."""
        if not visitor.direct.may_open(self._clock.monotonic()):
            return Refusal(
                f"more than {limits.DIRECT_OPENS_PER_SECOND} connections in a second: try again", code=TOO_MANY_OPENS
            )
        if port == SOCKET_PORT:
            return self._closed() or self._open_socket(visitor, host)
        wanted = self._wanted(visitor, host, port)
        if (refusal := self._closed() or key_refusal(wanted)) is not None:
            return refusal
        decided = self._decided(visitor, wanted)
        if isinstance(decided, Refusal):
            return decided
        if isinstance(decided, Host):
            return self._open_host(visitor, partial(self._wanted, visitor, host, port), decided)
        target, grant = decided
        tunnel = self._routes.by_address[target.address]  # the policy refuses an address without a tunnel
        return self._own_limit(visitor, tunnel) or self._splice(visitor, tunnel, grant, target, (host, port))

    def explain(self, visitor: DirectVisitor, host: bytes, port: int) -> Grant | HostAnswer | SocketGrant | Refusal:
        """What `open` would decide, before a host is looked up."""
        if (closed := self._closed()) is not None:
            return closed
        if port == SOCKET_PORT:
            return self._decide_socket(visitor, host)
        wanted = self._wanted(visitor, host, port)
        decided = key_refusal(wanted) or self._decided(visitor, wanted)
        if isinstance(decided, Host):
            return explain_host(wanted, decided)
        return decided[1] if isinstance(decided, tuple) else decided

    def _decided(self, visitor: DirectVisitor, wanted: Wanted) -> tuple[Target, Grant] | Host | Refusal:
        target = self._target(wanted)
        if isinstance(target, Refusal):
            return target
        if target is None or (target.owner is None and wanted.named):
            return self._no_host(wanted) or decide_host(wanted)
        grant = decide_tunnel(wanted, target, self._visits.policy, loop=_is_loop(visitor, target))
        return grant if isinstance(grant, Refusal) else (target, grant)

    def refusal_now(self, visitor: DirectVisitor, reached: Reached) -> Refusal | None:
        """The refusal of a channel that is open, by what decides now: the key's line may have other options, and the policy
        other rules."""
        if isinstance(reached.target, SocketGrant):
            decision = self._decide_socket(visitor, reached.host)
            return decision if isinstance(decision, Refusal) else None
        wanted = self._wanted(visitor, reached.host, reached.port)
        if isinstance(reached.target, HostAt):
            return refusal_at(wanted, reached.target)
        loop = _is_loop(visitor, reached.target)
        decided = decide_tunnel(wanted, reached.target, self._visits.policy, loop=loop)
        return decided if isinstance(decided, Refusal) else None

    def _wanted(self, visitor: DirectVisitor, host: bytes, port: int) -> Wanted:
        judge = judge_of(visitor, self._in_force.forwards, self._clock.now())
        return Wanted(visitor.identity, visitor.may.key_line, host, port, judge, visitor.may.sshd)

    def _target(self, wanted: Wanted) -> Target | Refusal | None:
        """The tunnel's address that a target can mean, with its owner if a tunnel serves it; None if it means none."""
        if (address := meant_port(wanted.host, wanted.port)) is not None:
            return self._at(address)
        name = self._name(wanted)
        alias = _alias(name, wanted.port)
        tunnel = None if alias is None else self._routes.get(alias)
        if tunnel is None or (tunnel.owner != wanted.who.id and not is_own(name, tunnel.owner_name)):
            machine = self._machine(wanted, name)
            if machine is not None:
                return machine
            if alias is not None and self._in_force.forwards.place_of_name(name) is not None:
                return Target(alias, None, private=True)  # the machine is away, and nobody takes its place
        return None if alias is None else self._at(alias)

    def _name(self, wanted: Wanted) -> str:
        """What a target is called, if that is an alias or a machine."""
        return self._domain.relative(normal(wanted.host[: limits.HOST_BYTES].decode("ascii", "replace")))

    def _no_host(self, wanted: Wanted) -> Refusal | None:
        """The refusal of a host with the name of a machine, where the operator has named it for the client."""
        if not wanted.named or meant_port(wanted.host, wanted.port) is not None:
            return None
        return host_refusal(self._name(wanted), wanted.port, self._in_force.forwards.place_of_name)

    def _at(self, address: Address) -> Target:
        tunnel = self._routes.get(address)
        if tunnel is None:
            return Target(address, None, private=True)
        return Target(address, tunnel.owner, private=True, holder=tunnel.holder)

    def _machine(self, wanted: Wanted, name: str) -> Target | Refusal | None:
        """The port of a machine whose key has this name; a refusal if it holds several for ssh."""
        held, called = self._routes.devices.get(name, {}), ALIAS.address(name, wanted.port)
        ports = [wanted.port] if wanted.port in held else []
        if not ports and wanted.port == SSH_PORT:
            ports = sorted(filter(self._in_force.forwards.rules.may_be_sshd, held))
        targets = [replace(self._at(held[port].address), called=called) for port in ports]
        if len(targets) < 2:
            return targets[0] if targets else None
        if any(isinstance(decide_tunnel(wanted, one, self._visits.policy), Grant) for one in targets):
            several = " and ".join(map(str, ports))
            return Refusal(f"{name} holds the ports {several}: write -p {ports[0]} you@localhost", code="several_ports")
        return Target(called, None, private=True)

    @staticmethod
    def _own_limit(visitor: DirectVisitor, tunnel: Tunnel) -> Refusal | None:
        """The refusal of one more stream from a client to its own port: a port whose local service is the same port would
        otherwise loop until the connection has no channel left."""
        if tunnel.address.name:
            return None
        own = next((one for one in visitor.forwards.values() if one is tunnel), None)
        if own is None or own.streams < limits.OWN_PORT_STREAMS:
            return None
        return Refusal(
            f"port {own.address.port} serves {own.streams} connections already: -L back to your own port works with "
            f"fewer than {limits.OWN_PORT_STREAMS}",
            code=OWN_PORT,
        )

    def _open_host(self, visitor: DirectVisitor, wanted: Callable[[], Wanted], host: Host) -> TunnelChannel | Refusal:
        if not visitor.direct.may_open_host(self._clock.monotonic()):
            return Refusal(
                f"more than {limits.OUTBOUND_OPENS_PER_SECOND} connections to hosts in a second: try again",
                code=TOO_MANY_OPENS,
            )
        visit = HostVisit(visitor, wanted, host, clock=self._clock, report=self._report)
        visit.begin(self._hosts)
        return visit.channel

    def _open_socket(self, visitor: DirectVisitor, path: bytes) -> TunnelChannel | Refusal:
        grant = self._decide_socket(visitor, path)
        if isinstance(grant, Refusal):
            return grant
        visit = SocketVisit(visitor, path, grant, clock=self._clock, report=self._report)
        visit.begin(self._hosts)
        return visit.channel

    def _decide_socket(self, visitor: DirectVisitor, path: bytes) -> SocketGrant | Refusal:
        settings = self._in_force.forwards
        judge = judge_of(visitor, settings, self._clock.now())
        return decide_socket(visitor.may, visitor.identity, path, settings.rules, judge)

    def _splice(
        self, visitor: DirectVisitor, tunnel: Tunnel, grant: Grant, target: Target, asked: tuple[bytes, int]
    ) -> TunnelChannel:
        """A channel of `visitor`, joined with a new stream into `tunnel`, which it has `asked` for."""
        channel = TunnelChannel(visitor.connection, None, visitor.direct)
        visitor.direct.began(channel, Reached(*asked, target))
        joined = TunnelSplice(
            tunnel,
            _called(target),
            visitor.peer,
            self._clock,
            refused=partial(visitor.open_refused, *asked),
            reports=ReachReports(
                partial(self._report, connection=visitor.id, target=str(tunnel.address), **by_rule(grant.rule))
            ),
        )
        channel.watch_opening(joined.visitor)
        tap = None if tunnel.tap is None else tunnel.tap.begin(None)
        joined.join(channel, lambda sink: tunnel.dial(grant, visitor.peer, sink), tap)
        return channel


def _alias(name: str, port: int) -> Address | None:
    try:
        return ALIAS.address(parse_label(name, "alias"), port)
    except InvalidInput:
        return None


def _called(target: Target) -> str:
    """What messages to the visitor call a tunnel."""
    if target.called is not None:
        return str(target.called)
    return "the alias" if target.address.name else str(target.address)


def _is_loop(visitor: DirectVisitor, target: Target) -> bool:
    """Whether the target is a tunnel of the same connection."""
    return any(tunnel.address == target.address for tunnel in visitor.forwards.values())


def meant_port(host: bytes, port: int) -> Address | None:
    """The TCP port of the gateway that a target means; None if `host` is not written as a loopback address."""
    return TCP.address(port) if host.lower() in _LOCAL else None
