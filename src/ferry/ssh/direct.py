"""What a client reaches through its connection, by a `direct-tcpip` open (RFC 4254 §7.2): two things, and nothing else,
least of all the gateway itself.

A private alias of its own identity: `ssh -J gw laptop`, `ssh -W laptop:22 gw`, `ssh -L 8022:laptop:22 gw`.

And its way back to a port that it holds itself: `ssh -L 20000:127.0.0.1:20000 -R 20000:127.0.0.1:20001`. autossh
(`-M 20000`) looks through such a loop whether its connection still carries data. So a loopback address reaches a TCP port
that this very connection holds, and no other port: the bytes go from channel to channel, and no socket is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from asyncssh.constants import OPEN_CONNECT_FAILED
from asyncssh.misc import ChannelOpenError

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.names import Address, Endpoint, Identity, IdentityId, parse_label
from ferry.policy.grants import Grant
from ferry.policy.visits import Target
from ferry.registry.routes import Tunnel, connection_visit
from ferry.relay import Relay
from ferry.streams import OpenFailure

from .services import Services
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport

_LOOPBACK: Final = frozenset({b"localhost", b"127.0.0.1", b"::1"})
_WHY: Final[Mapping[OpenFailure, str]] = MappingProxyType(
    {
        OpenFailure.REFUSED: "nothing answers at {}'s local target",
        OpenFailure.GONE: "{} has just gone",
        OpenFailure.LIMIT: "{} has as many connections as it may have",
        OpenFailure.TIMEOUT: "the machine behind {} does not answer",
    }
)
"""`{}` is the alias, or the port of one's own."""


class OwnTunnel(Tunnel, Protocol):
    """A tunnel of a client's own."""

    @property
    def streams(self) -> int:
        """Streams that are open or opening."""
        ...


TunnelT = TypeVar("TunnelT", bound=OwnTunnel)


class DirectVisitor(Protocol):
    """The client that asks."""

    @property
    def identity(self) -> Identity: ...

    @property
    def peer(self) -> Endpoint: ...

    @property
    def connection(self) -> ChannelTransport: ...

    @property
    def forwards(self) -> Mapping[tuple[bytes, int], OwnTunnel]:
        """Its own tunnels, by what it asked for."""
        ...

    @property
    def services(self) -> Services: ...


def open_direct(visitor: DirectVisitor, host: bytes, port: int) -> TunnelChannel | Refusal:
    """The channel that answers a `direct-tcpip` open: confirmed once the local target has answered."""
    tunnel = own_port(visitor.forwards.values(), host, port)
    if tunnel is None:
        return _open_alias(visitor, host, port)
    if isinstance(tunnel, Refusal):
        return tunnel
    grant = _decide(visitor, tunnel.address, tunnel.owner)
    return grant if isinstance(grant, Refusal) else _splice(visitor, tunnel, grant, str(tunnel.address))


def _decide(visitor: DirectVisitor, address: Address, owner: IdentityId | None) -> Grant | Refusal:
    return visitor.services.visits.policy.decide(visitor.identity, Target(address, owner))


def own_port(tunnels: Iterable[TunnelT], host: bytes, port: int) -> TunnelT | Refusal | None:
    """The tunnel among `tunnels` that `host` and `port` mean; a refusal when too many such streams are open: a port
    whose local target is its own way back would go round until the connection had no channel left."""
    if host.lower() not in _LOOPBACK:
        return None
    for tunnel in tunnels:
        if tunnel.address == TCP.address(port):
            if tunnel.streams >= limits.OWN_PORT_STREAMS:
                return Refusal(
                    f"port {port} serves {tunnel.streams} connections already: the way back to a port of your own "
                    f"needs fewer than {limits.OWN_PORT_STREAMS}",
                    code="own_port",
                )
            return tunnel
    return None


def _open_alias(visitor: DirectVisitor, host: bytes, port: int) -> TunnelChannel | Refusal:
    services = visitor.services
    try:
        name = host[: limits.HOST_BYTES].decode("ascii").lower().removesuffix(".")
        label = parse_label(services.web.domain.relative(name), "alias")
    except (UnicodeDecodeError, InvalidInput):
        return Refusal("only your private aliases can be reached through this gateway", code="not_an_alias")
    address = ALIAS.address(label, port)
    tunnel = services.routes.get(address)
    grant = _decide(visitor, address, None if tunnel is None else tunnel.owner)
    if isinstance(grant, Refusal):
        return grant
    assert tunnel is not None  # an alias that nobody serves is refused
    return _splice(visitor, tunnel, grant, "the alias")


def _splice(visitor: DirectVisitor, tunnel: Tunnel, grant: Grant, called: str) -> TunnelChannel:
    """A channel of `visitor` that is joined with a new stream into `tunnel`, which a failure calls `called`."""
    channel = TunnelChannel(visitor.connection, None)
    joined = Splice(tunnel, called, visitor.peer, visitor.services.clock)
    channel.watch_opening(joined.visitor)
    joined.join(channel, lambda sink: tunnel.dial(grant, visitor.peer, sink))
    return channel


class Splice(Relay[TunnelChannel]):
    """One visit through a client's channel."""

    def __init__(self, tunnel: Tunnel, called: str, peer: Endpoint, clock: Clock) -> None:
        super().__init__(traffic=tunnel.traffic, tap=None if tunnel.tap is None else tunnel.tap.begin(None))
        self.visitor: Final = NearSink(self)
        self._tunnel = tunnel
        self._called = called
        self._peer = peer
        self._clock = clock
        self._began = clock.monotonic()
        self._note = ""

    def stream_opened(self) -> None:
        self.near.accept(self.visitor)

    def stream_refused(self, failure: OpenFailure) -> None:
        self._note = _WHY[failure].format(self._called)
        self.near.reject(ChannelOpenError(OPEN_CONNECT_FAILED, self._note))
        super().stream_refused(failure)

    def stream_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._note = "broken"
        super().stream_lost(error)

    def near_left(self) -> None:
        """The visitor left before the tunnel answered."""
        self._note = "the visitor left before the alias answered"
        self.near_lost(ConnectionAbortedError(self._note))

    def ended(self) -> None:
        tunnel = self._tunnel
        tunnel.traffic.visits += 1
        seconds = self._clock.monotonic() - self._began
        tunnel.visited(connection_visit(tunnel, self._peer, seconds, up=self.up, down=self.down, note=self._note))


class NearSink:
    """The sink of the visitor's channel. It only exists because both sides of a splice call a sink's methods."""

    __slots__ = ("_splice", "data_received")

    def __init__(self, splice: Splice) -> None:
        self._splice = splice
        self.data_received = splice.near_data  # itself: one call less for every chunk

    def stream_opened(self) -> None:
        """The visitor's channel is opened by `accept`; nothing to do."""

    def stream_refused(self, _failure: OpenFailure) -> None:
        self._splice.near_left()

    def eof_received(self) -> None:
        self._splice.near_eof()

    def stream_lost(self, error: Exception | None) -> None:
        self._splice.near_lost(error)

    def pause_writing(self) -> None:
        self._splice.near_full()

    def resume_writing(self) -> None:
        self._splice.near_drained()
