"""Answers a client's `direct-tcpip` opens (RFC 4254 §7.2). They reach two targets only, and never the gateway itself.

The first is a private alias of the client's identity: `ssh -J gw laptop`, `ssh -W laptop:22 gw`, `ssh -L 8022:laptop:22
gw`.

The second is a TCP port of the same connection: `ssh -L 20000:127.0.0.1:20000 -R 20000:127.0.0.1:20001`. autossh
(`-M 20000`) sends data through such a loop to check its connection. So a loopback address means a TCP port that this
connection holds, and no other port. The bytes go from channel to channel; the gateway opens no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from asyncssh.constants import OPEN_CONNECT_FAILED
from asyncssh.misc import ChannelOpenError

from ferry import limits
from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import Domain, normal
from ferry.kinds.alias import ALIAS
from ferry.kinds.port import TCP
from ferry.names import Address, Endpoint, Identity, IdentityId, parse_label
from ferry.policy.grants import Grant
from ferry.policy.keys import KeyLine, open_refusal
from ferry.policy.visits import Target
from ferry.registry.routes import Routes, Tunnel
from ferry.registry.visits_in_force import VisitsInForce
from ferry.relay import Relay, RelayPhase
from ferry.streams import OpenFailure
from ferry.visits import connection_visit

from .direct_open import DirectOpen
from .wire.channel import TunnelChannel
from .wire.channel_state import ChannelTransport

_LOOPBACK: Final = frozenset({b"localhost", b"127.0.0.1", b"::1"})
_WHY: Final[Mapping[OpenFailure, str]] = MappingProxyType(
    {
        OpenFailure.REFUSED: "{}'s local service cannot be reached",
        OpenFailure.GONE: "{} has just closed",
        OpenFailure.LIMIT: "{} has too many connections",
        OpenFailure.TIMEOUT: "the machine behind {} does not answer",
        OpenFailure.SILENT: "the machine behind {} is silent: its network may be gone",
    }
)
"""`{}` is the alias, or the client's own port."""


class OwnTunnel(Tunnel, Protocol):
    """A tunnel of the client that opens the channel."""

    @property
    def streams(self) -> int:
        """The number of streams that are open or opening."""
        ...


TunnelT = TypeVar("TunnelT", bound=OwnTunnel)


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
        if (refusal := open_refusal(visitor.key_line, host, port)) is not None:
            return refusal
        tunnel = own_port(visitor.forwards.values(), host, port)
        if tunnel is None:
            return self._open_alias(visitor, host, port)
        if isinstance(tunnel, Refusal):
            return tunnel
        grant = self._decide(visitor, tunnel.address, tunnel.owner)
        if isinstance(grant, Refusal):
            return grant
        return self._splice(visitor, tunnel, grant, str(tunnel.address), (host, port))

    def _decide(self, visitor: DirectVisitor, address: Address, owner: IdentityId | None) -> Grant | Refusal:
        return self._visits.policy.decide(visitor.identity, Target(address, owner))

    def _open_alias(self, visitor: DirectVisitor, host: bytes, port: int) -> TunnelChannel | Refusal:
        try:
            name = normal(host[: limits.HOST_BYTES].decode("ascii"))
            label = parse_label(self._domain.relative(name), "alias")
        except (UnicodeDecodeError, InvalidInput):
            return Refusal("through this gateway you can reach your private aliases only", code="not_an_alias")
        address = ALIAS.address(label, port)
        tunnel = self._routes.get(address)
        grant = self._decide(visitor, address, None if tunnel is None else tunnel.owner)
        if isinstance(grant, Refusal):
            return grant
        assert tunnel is not None  # the policy refuses an alias without a tunnel
        return self._splice(visitor, tunnel, grant, "the alias", (host, port))

    def _splice(
        self, visitor: DirectVisitor, tunnel: Tunnel, grant: Grant, called: str, target: tuple[bytes, int]
    ) -> TunnelChannel:
        """A channel of `visitor` to its `target`, joined with a new stream into `tunnel`. Messages call the tunnel
        `called`."""
        channel = TunnelChannel(visitor.connection, None, visitor.direct)
        visitor.direct.began(channel, *target)
        joined = Splice(
            tunnel,
            called,
            visitor.peer,
            self._clock,
            refused=partial(visitor.open_refused, *target),
        )
        channel.watch_opening(joined.visitor)
        tap = None if tunnel.tap is None else tunnel.tap.begin(None)
        joined.join(channel, lambda sink: tunnel.dial(grant, visitor.peer, sink), tap)
        return channel


def own_port(tunnels: Iterable[TunnelT], host: bytes, port: int) -> TunnelT | Refusal | None:
    """The tunnel among `tunnels` that `host` and `port` mean; None if there is none. A refusal if it has too many
    streams: a port whose local service is the same port would otherwise loop until the connection has no channel
    left."""
    if host.lower() not in _LOOPBACK:
        return None
    for tunnel in tunnels:
        if tunnel.address == TCP.address(port):
            if tunnel.streams >= limits.OWN_PORT_STREAMS:
                return Refusal(
                    f"port {port} serves {tunnel.streams} connections already: -L back to your own port works with "
                    f"fewer than {limits.OWN_PORT_STREAMS}",
                    code="own_port",
                )
            return tunnel
    return None


class Splice(Relay[TunnelChannel]):
    """One visit through a client's channel."""

    def __init__(
        self,
        tunnel: Tunnel,
        called: str,
        peer: Endpoint,
        clock: Clock,
        *,
        refused: Callable[[str], None],
    ) -> None:
        """`refused` gets the reason if the stream does not open."""
        super().__init__(traffic=tunnel.traffic)
        self.visitor: Final = NearSink(self)
        self._tunnel = tunnel
        self._called = called
        self._refused = refused
        self._peer = peer
        self._clock = clock
        self._began = clock.monotonic()
        self._note = ""

    def stream_opened(self) -> None:
        self.near.accept(self.visitor)

    def stream_refused(self, failure: OpenFailure) -> None:
        self._note = _WHY[failure].format(self._called)
        self.near.reject(ChannelOpenError(OPEN_CONNECT_FAILED, self._note))
        self._refused(self._note)
        super().stream_refused(failure)

    def stream_lost(self, error: Exception | None) -> None:
        if error is not None:
            self._note = "broken"
        elif self.phase is RelayPhase.RELAY and not self._up_done:
            self._closed_by_client()
        super().stream_lost(error)

    def _closed_by_client(self) -> None:
        """Tell the owner at the first visit, if nothing came before: stock ssh closes so if an alias has no target
        (`edge.http.hints.NoTarget`)."""
        address, traffic = self._tunnel.address, self._tunnel.traffic
        if address.name and not traffic.down and not traffic.visits:
            self._tunnel.tell(
                f"{address} closed a visit without an answer: if your -R {address} names no local service, "
                f"write -R {address}:localhost:{address.port}",
                event="hint",
                about="target",
            )

    def near_left(self) -> None:
        """The visitor has left before the tunnel answered."""
        self._note = f"the visitor left before {self._called} answered"
        self.near_lost(ConnectionAbortedError(self._note))

    def ended(self) -> None:
        tunnel = self._tunnel
        tunnel.traffic.visits += 1
        seconds = self._clock.monotonic() - self._began
        tunnel.visited(connection_visit(tunnel, self._peer, seconds, up=self.up, down=self.down, note=self._note))


class NearSink:
    """The sink of the visitor's channel. It is a class of its own because both sides of a splice call a sink's
    methods."""

    __slots__ = ("_splice", "data_received")

    def __init__(self, splice: Splice) -> None:
        self._splice = splice
        self.data_received = splice.near_data  # the method itself, which saves one call for each chunk

    def stream_opened(self) -> None:
        """There is nothing to do: `accept` opens the visitor's channel."""

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
