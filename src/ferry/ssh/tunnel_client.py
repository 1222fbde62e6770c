"""A client, as far as its tunnels use it."""

from __future__ import annotations

from typing import Protocol

from ferry.names import ConnectionId
from ferry.policy.allowance import Allowance

from .judging import Judged
from .tunnel import TunnelEvents, TunnelLine


class TunnelClient(TunnelEvents, Judged, Protocol):
    """A client, as far as its tunnels use it."""

    @property
    def id(self) -> ConnectionId: ...

    @property
    def may(self) -> Allowance:
        """What it may ask for now."""
        ...

    @property
    def user(self) -> str:
        """The login name."""
        ...

    @property
    def began(self) -> float:
        """When it was accepted: seconds since the epoch."""
        ...

    @property
    def network(self) -> str:
        """The IPv4 /24 or IPv6 /64 of its peer."""
        ...

    @property
    def connection(self) -> TunnelLine: ...

    @property
    def is_closed(self) -> bool: ...

    async def alive(self, seconds: float, /) -> bool:
        """Whether the client gives a sign of life within `seconds`."""
        ...

    def end_if_unused(self, reason: str, /) -> None:
        """Disconnect and tell the client why, unless it has a forward or waits for the decision on one."""
        ...
