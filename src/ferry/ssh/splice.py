"""Joins the channel that a client has opened by `-L`, `-D`, `-J` or `-W` with a stream into a tunnel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from asyncssh.constants import OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE
from asyncssh.misc import ChannelOpenError

from ferry.clock import Clock
from ferry.names import Endpoint
from ferry.registry.routes import Tunnel
from ferry.relay import Relay, RelayPhase
from ferry.report import Report
from ferry.streams import OpenFailure
from ferry.visits import Traffic, connection_visit

from .wire.channel import TunnelChannel

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


class NoLongerAllowed(ConnectionResetError):
    """A visit is cut because the operator's rules, or the line of the visitor's key, have changed."""

    def __init__(self) -> None:
        super().__init__("the rules no longer allow it")


class Splice(Relay[TunnelChannel]):
    """One visit through a client's channel. `called` is what messages call the target."""

    def __init__(self, called: str, traffic: Traffic, clock: Clock) -> None:
        super().__init__(traffic=traffic)
        self.visitor: Final = NearSink(self)
        self._called = called
        self._clock = clock
        self._began = clock.monotonic()
        self.note = ""
        """Why it did not go well."""

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return self._clock.monotonic() - self._began

    def stream_opened(self) -> None:
        self.near.accept(self.visitor)

    def stream_lost(self, error: Exception | None) -> None:
        if error is not None:
            self.note = "broken"
        super().stream_lost(error)

    def near_lost(self, error: Exception | None) -> None:
        if isinstance(error, NoLongerAllowed):
            self.note = str(error)
        super().near_lost(error)

    def near_left(self) -> None:
        """The visitor has left before the target answered."""
        self.note = f"the visitor left before {self._called} answered"
        self.near_lost(ConnectionAbortedError(self.note))


class ReachReports:
    """The reports of one visit to a tunnel, for the audit log."""

    __slots__ = ("_opened", "_tell")

    def __init__(self, tell: Report) -> None:
        """`tell` reports with the visitor's connection and the target."""
        self._tell = tell
        self._opened = False

    def opened(self) -> None:
        """The tunnel has answered."""
        self._opened = True
        self._tell("reach.opened")

    def ended(self, visit: Splice) -> None:
        """The visit has ended, if it ever began."""
        if self._opened:
            self._tell("reach.closed", seconds=visit.seconds, up=visit.up, down=visit.down, reason=visit.note)
        else:
            self._tell("reach.failed", reason=visit.note)


class TunnelSplice(Splice):
    """A visit to a tunnel."""

    def __init__(
        self,
        tunnel: Tunnel,
        called: str,
        peer: Endpoint,
        clock: Clock,
        *,
        refused: Callable[[str], None],
        reports: ReachReports,
    ) -> None:
        """`refused` gets the reason if the stream does not open."""
        super().__init__(called, tunnel.traffic, clock)
        self._tunnel = tunnel
        self._refused = refused
        self._peer = peer
        self._reports = reports

    def stream_opened(self) -> None:
        super().stream_opened()
        self._reports.opened()

    def stream_refused(self, failure: OpenFailure) -> None:
        self.note = _WHY[failure].format(self._called)
        code = OPEN_RESOURCE_SHORTAGE if failure is OpenFailure.LIMIT else OPEN_CONNECT_FAILED
        self.near.reject(ChannelOpenError(code, self.note))
        self._refused(self.note)
        super().stream_refused(failure)

    def stream_lost(self, error: Exception | None) -> None:
        if error is None and self.phase is RelayPhase.RELAY and not self._up_done:
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

    def ended(self) -> None:
        tunnel = self._tunnel
        tunnel.traffic.visits += 1
        tunnel.visited(connection_visit(tunnel, self._peer, self.seconds, up=self.up, down=self.down, note=self.note))
        self._reports.ended(self)


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
