"""One visitor of a port: what the report of its visit says, and what it does with its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ferry.limiters.shortage import Standing
from ferry.names import Endpoint
from ferry.registry.routes import Tunnel, connection_visit
from ferry.streams import OpenFailure
from ferry.visits import Visit

from .bridge import Bridge
from .socks_guard import GuardedBridge
from .unsent import untaken

_NOTES: Final = MappingProxyType(
    {
        OpenFailure.REFUSED: "nothing answers at your local target",
        OpenFailure.GONE: "the tunnel closed while the visitor came",
        OpenFailure.LIMIT: "the tunnel has as many visitors as it may have",
        OpenFailure.TIMEOUT: "your client did not answer in time",
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
    """What it is counted for by the limiter of connections."""
    of_client: bool
    """It comes from where the tunnel's own client is."""
    ended: Callable[[Bridge], None]
    """Called when its visit is over."""
    displaced: bool = False

    @property
    def host(self) -> str:
        return self.endpoint.host

    def standing(self) -> tuple[Standing, int]:
        bridge = self.bridge
        if bridge.choked:
            return Standing.UNREAD, bridge.down - untaken(self.transport)
        if bridge.down:
            return Standing.STREAM, bridge.up + bridge.down
        return (Standing.WAITING if bridge.up else Standing.SILENT), 0

    def looked_at(self) -> tuple[float, int] | None:
        return None if self.bridge.down else (self.since, 0)

    def displace(self) -> None:
        self.displaced = True
        self.bridge.cut()
        self.ended(self.bridge)

    disconnect = displace

    def visit(self, tunnel: Tunnel, now: float) -> Visit:
        """What is reported of it at its end."""
        bridge = self.bridge
        return connection_visit(
            tunnel, self.endpoint, now - self.since, up=bridge.up, down=bridge.down, note=self._note()
        )

    def _note(self) -> str:
        if self.displaced:
            return "cut: there are as many visitors as there may be, and this one gave its place to another"
        if isinstance(self.bridge, GuardedBridge) and self.bridge.open_proxy:
            return "cut: a SOCKS proxy answered on a public port"
        return "" if self.bridge.failure is None else _NOTES[self.bridge.failure]
