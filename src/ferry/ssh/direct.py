"""Answers a client's `direct-tcpip` opens (RFC 4254 §7.2): `ssh -J gw laptop`, `-W laptop:22`, `-L 8022:laptop:22`, `-D`.

A target is looked up in this order:

1. `localhost`, `127.0.0.1` or `::1` with a TCP port that a tunnel holds: that tunnel. So `ssh -J gw -p 21022
   root@localhost` reaches the machine behind port 21022, and autossh (`-M 20000`) checks its connection through a port of
   its own;
2. an alias.

The bytes go from channel to channel; the gateway opens no socket. `policy.reach` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import Domain, normal
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.names import Address, Endpoint, Identity, parse_label
from ferry.policy.grants import Grant
from ferry.policy.keys import KeyLine
from ferry.policy.reach import Wanted, decide_tunnel, key_refusal, unknown
from ferry.policy.visits import Target
from ferry.registry.routes import Routes, Tunnel
from ferry.registry.visits_in_force import VisitsInForce

from .direct_open import DirectOpen, Reached
from .splice import TunnelSplice
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport

_LOOPBACK: Final = frozenset({b"localhost", b"127.0.0.1", b"::1"})
_OWN_PORT: Final = "own_port"
_TOO_MANY: Final = "too_many_opens"
_SHORTAGES: Final = frozenset({_OWN_PORT, _TOO_MANY})
"""Codes of refusals that tell a client to come again, and not that it may not."""


class OwnTunnel(Tunnel, Protocol):
    """A tunnel of the client that opens the channel."""

    @property
    def streams(self) -> int:
        """The number of streams that are open or opening."""
        ...


class DirectVisitor(Protocol):
    """The client that opens the channel."""

    @property
    def identity(self) -> Identity: ...

    @property
    def key_line(self) -> KeyLine:
        """The line of the key files by which it is here."""
        ...

    @property
    def peer(self) -> Endpoint: ...

    @property
    def connection(self) -> ChannelTransport: ...

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], OwnTunnel]:
        """Its own tunnels, by the bind address and port of its requests."""
        ...

    def open_refused(self, host: bytes, port: int, why: str, /) -> None:
        """Tell the person that the stream of a granted open was refused."""
        ...

    @property
    def direct(self) -> DirectOpen:
        """Its own channels of this kind."""
        ...


class DirectChannels:
    """Opens the targets of `direct-tcpip` requests."""

    __slots__ = ("_clock", "_domain", "_routes", "_visits")

    def __init__(self, routes: Routes, visits: VisitsInForce, domain: Domain, clock: Clock) -> None:
        self._routes = routes
        self._visits = visits
        self._domain = domain
        self._clock = clock

    def open(self, visitor: DirectVisitor, host: bytes, port: int) -> TunnelChannel | Refusal:
        """The channel for a `direct-tcpip` open. It is confirmed after the local service has answered."""
        if not visitor.direct.may_open(self._clock.monotonic()):
            return Refusal(
                f"more than {limits.DIRECT_OPENS_PER_SECOND} connections in a second: try again", code=_TOO_MANY
            )
        wanted = Wanted(visitor.identity, visitor.key_line, host, port)
        if (refusal := key_refusal(wanted)) is not None:
            return refusal
        target = self._target(host, port)
        if target is None:
            return unknown(wanted)
        grant = decide_tunnel(wanted, target, self._visits.policy)
        if isinstance(grant, Refusal):
            return grant
        tunnel = self._routes.by_address[target.address]  # the policy refuses an address without a tunnel
        return self._own_limit(visitor, tunnel) or self._splice(visitor, tunnel, grant, Reached(host, port, target))

    def refusal_now(self, visitor: DirectVisitor, reached: Reached) -> Refusal | None:
        """The refusal of a channel that is open, by what decides now: the key's line may have other options."""
        wanted = Wanted(visitor.identity, visitor.key_line, reached.host, reached.port)
        decided = decide_tunnel(wanted, reached.target, self._visits.policy)
        return decided if isinstance(decided, Refusal) else None

    def _target(self, host: bytes, port: int) -> Target | None:
        """The tunnel's address that a target can mean, with its owner if a tunnel serves it; None if it means none."""
        address = meant_port(host, port) or self._alias(host, port)
        if address is None:
            return None
        tunnel = self._routes.get(address)
        return Target(address, None if tunnel is None else tunnel.owner, private=True)

    def _alias(self, host: bytes, port: int) -> Address | None:
        try:
            name = normal(host[: limits.HOST_BYTES].decode("ascii"))
            return ALIAS.address(parse_label(self._domain.relative(name), "alias"), port)
        except (UnicodeDecodeError, InvalidInput):
            return None

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
            code=_OWN_PORT,
        )

    def _splice(self, visitor: DirectVisitor, tunnel: Tunnel, grant: Grant, reached: Reached) -> TunnelChannel:
        """A channel of `visitor`, joined with a new stream into `tunnel`."""
        channel = TunnelChannel(visitor.connection, None, visitor.direct)
        visitor.direct.began(channel, reached)
        joined = TunnelSplice(
            tunnel,
            "the alias" if tunnel.address.name else str(tunnel.address),
            visitor.peer,
            self._clock,
            refused=partial(visitor.open_refused, reached.host, reached.port),
        )
        channel.watch_opening(joined.visitor)
        tap = None if tunnel.tap is None else tunnel.tap.begin(None)
        joined.join(channel, lambda sink: tunnel.dial(grant, visitor.peer, sink), tap)
        return channel


def meant_port(host: bytes, port: int) -> Address | None:
    """The TCP port of the gateway that a target means; None if `host` is not written as a loopback address."""
    return TCP.address(port) if host.lower() in _LOOPBACK else None


def open_failure(refusal: Refusal) -> ChannelOpenError:
    """What the client gets (RFC 4254 §5.1): `ssh` prints the name of the code and the text."""
    code = OPEN_RESOURCE_SHORTAGE if refusal.code in _SHORTAGES else OPEN_ADMINISTRATIVELY_PROHIBITED
    return ChannelOpenError(code, refusal.public)
