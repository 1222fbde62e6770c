"""One visitor of a TCP port: the report of its visit, and its place among the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.registry.routes import Tunnel
from ferry.send_queue import unacknowledged
from ferry.streams import OpenFailure
from ferry.visits import Visit, connection_visit

from .bridge import Bridge
from .socks_guard import GuardedBridge

_NOTES: Final = MappingProxyType(
    {
        OpenFailure.REFUSED: "your local service cannot be reached",
        OpenFailure.GONE: "the tunnel closed while the visitor connected",
        OpenFailure.LIMIT: "the tunnel has too many visitors",
        OpenFailure.TIMEOUT: "your client did not answer in time",
        OpenFailure.SILENT: "your client is silent",
    }
)


@dataclass(slots=True, eq=False)
class TcpVisitor:
    """A `ferry.limiters.shortage.Holder`."""

    bridge: Bridge
    transport: asyncio.Transport
    endpoint: Endpoint
    since: float
    """Monotonic seconds."""
    source: str
    """The source that the limiter of connections counts it for."""
    of_client: bool
    """It comes from the origin of the tunnel's own client."""
    ended: Callable[[Bridge], None]
    """Called when the visit ends."""
    displaced: bool = False

    @property
    def host(self) -> str:
        return self.endpoint.host

    def standing(self) -> tuple[Standing, int]:
        bridge = self.bridge
        if bridge.write_paused:
            return Standing.UNREAD, bridge.down - unacknowledged(self.transport)
        if bridge.down:
            return Standing.STREAM, bridge.up + bridge.down
        return (Standing.WAITING if bridge.up else Standing.SILENT), 0

    def last_check(self) -> tuple[float, int] | None:
        return None if self.bridge.down else (self.since, 0)

    def displace(self) -> None:
        self.displaced = True
        self.bridge.cut()
        self.ended(self.bridge)

    disconnect = displace

    def visit(self, tunnel: Tunnel, now: float) -> Visit:
        """The report of this visit, made at its end."""
        bridge = self.bridge
        return connection_visit(
            tunnel, self.endpoint, now - self.since, up=bridge.up, down=bridge.down, note=self._note()
        )

    def _note(self) -> str:
        if self.displaced:
            return "cut: there are too many visitors, and this one lost its place to another"
        if isinstance(self.bridge, GuardedBridge) and self.bridge.open_proxy:
            return "cut: a SOCKS proxy answered on a public port"
        return "" if self.bridge.failure is None else _NOTES[self.bridge.failure]
