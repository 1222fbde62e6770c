"""Private aliases: `ssh -J gw laptop`, `ssh -W laptop:22 gw`, `ssh -L 8022:laptop:22 gw`.

A `direct-tcpip` open (RFC 4254 §7.2) names an alias; nothing else can be reached through the gateway, least of all
the gateway itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from asyncssh.constants import OPEN_CONNECT_FAILED
from asyncssh.misc import ChannelOpenError

from ferry import limits
from ferry.errors import InvalidInput, Refusal
from ferry.kinds.alias import ALIAS
from ferry.names import Endpoint, parse_label
from ferry.policy.grants import Grant
from ferry.policy.visits import alias_visit, no_alias
from ferry.streams import Direction, OpenFailure, Stream
from ferry.visits import Visit

from .wire.channel import TunnelChannel

if TYPE_CHECKING:
    from .client import Client
    from .tunnel import SshTunnel

_WHY: Final[Mapping[OpenFailure, str]] = MappingProxyType(
    {
        OpenFailure.REFUSED: "nothing answers at {}'s local target",
        OpenFailure.GONE: "{} has just gone",
        OpenFailure.LIMIT: "{} has as many connections as it may have",
        OpenFailure.TIMEOUT: "the machine behind {} does not answer",
    }
)
"""`{}` is the alias, or the port of one's own (`own_ports`)."""


def open_alias(client: Client, host: bytes, port: int) -> TunnelChannel | Refusal:
    """The channel that answers a `direct-tcpip` open: confirmed once the alias has."""
    services = client.services
    try:
        name = host[: limits.HOST_BYTES].decode("ascii").lower().removesuffix(".")
        label = parse_label(services.web.domain.relative(name), "alias")
    except (UnicodeDecodeError, InvalidInput):
        return Refusal("only your private aliases can be reached through this gateway", code="not_an_alias")
    address = ALIAS.address(label, port)
    tunnel = services.routes.get(address)
    if tunnel is None:
        return Refusal(
            no_alias(address, services.urls.gateway),
            code="no_such_alias",
            detail=f"{client.identity} asked for {address}, which nobody serves",
        )
    grant = alias_visit(address, client.identity, tunnel.owner, services.urls.gateway)
    if isinstance(grant, Refusal):
        return grant
    return splice(client, tunnel, grant, "the alias")  # type: ignore[arg-type]  # every tunnel of this worker is an SshTunnel


def splice(client: Client, tunnel: SshTunnel, grant: Grant, called: str) -> TunnelChannel:
    """A channel of `client` that is joined with a new stream into `tunnel`, which a failure calls `called`."""
    channel = TunnelChannel(client.connection, None)
    joined = _Splice(client, tunnel, channel, called)
    joined.stream = tunnel.dial(grant, client.peer, joined)
    return channel


class _Splice:
    """Joins the visitor's channel with the stream into the alias. It is the sink of the stream; `_Back` of the channel."""

    stream: Stream
    """Set as soon as it has been dialled: neither side is told anything before that."""

    def __init__(self, client: Client, tunnel: SshTunnel, channel: TunnelChannel, called: str) -> None:
        self._client = client
        self._tunnel = tunnel
        self._called = called
        self.channel = channel
        self._back = _Back(self)
        self._tap = None if tunnel.tap is None else tunnel.tap.begin(None)
        self._began = client.services.clock.monotonic()
        self.up = self._down = 0
        self._ended = False
        channel.watch_opening(self._back)

    def stream_opened(self) -> None:
        self.channel.accept(self._back)

    def stream_refused(self, failure: OpenFailure) -> None:
        why = _WHY[failure].format(self._called)
        self.channel.reject(ChannelOpenError(OPEN_CONNECT_FAILED, why))
        self.end(why)

    def data_received(self, data: bytes) -> None:
        self._down += len(data)
        if self._tap is not None:
            self._tap.seen(Direction.DOWN, data)
        self.channel.write(data)

    def eof_received(self) -> None:
        self.channel.write_eof()

    def stream_lost(self, error: Exception | None) -> None:
        self.channel.close() if error is None else self.channel.abort()
        self.end("" if error is None else "broken")

    def pause_writing(self) -> None:
        self.channel.pause_reading()

    def resume_writing(self) -> None:
        self.channel.resume_reading()

    def end(self, note: str) -> None:
        """Count the visit, once."""
        if self._ended:
            return
        self._ended = True
        traffic = self._tunnel.traffic
        traffic.up += self.up
        traffic.down += self._down
        traffic.visits += 1
        seconds = self._client.services.clock.monotonic() - self._began
        peer = Endpoint(self._client.peer.host, self._client.peer.port)
        address, kind = self._tunnel.shown_address, self._tunnel.kind
        self._tunnel.visited(
            Visit(self._tunnel.id, address, kind, peer, "", address, 0, seconds, self.up, self._down, note)
        )
        if self._tap is not None:
            self._tap.ended(None)

    def seen_up(self, data: bytes) -> None:
        """Count what the visitor sends."""
        self.up += len(data)
        if self._tap is not None:
            self._tap.seen(Direction.UP, data)


class _Back:
    """The sink of the visitor's channel: everything goes to the stream."""

    def __init__(self, splice: _Splice) -> None:
        self._splice = splice

    def stream_opened(self) -> None:
        """The visitor's channel is opened by `accept`; nothing to do."""

    def stream_refused(self, _failure: OpenFailure) -> None:
        """The visitor left while the alias was being reached."""
        self._splice.stream.abort()
        self._splice.end("the visitor left before the alias answered")

    def data_received(self, data: bytes) -> None:
        self._splice.seen_up(data)
        self._splice.stream.write(data)

    def eof_received(self) -> None:
        self._splice.stream.write_eof()

    def stream_lost(self, error: Exception | None) -> None:
        stream = self._splice.stream
        stream.close() if error is None else stream.abort()
        self._splice.end("")

    def pause_writing(self) -> None:
        self._splice.stream.pause_reading()

    def resume_writing(self) -> None:
        self._splice.stream.resume_reading()
