"""The values that all connections of one edge share. They never change while it runs; the edge owns what does."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ferry import limits
from ferry.clock import Clock
from ferry.names import Endpoint
from ferry.policy.loops import Loops
from ferry.report import Report

from .own_page import OwnPage

IsReserved = Callable[[str], Awaitable[bool]]
"""Whether a hostname without a tunnel is reserved. May raise StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that an operator may change, in bytes, counts and seconds."""

    head_bytes: int = limits.HEAD_BYTES
    head_fields: int = limits.HEAD_FIELDS
    head_seconds: float = limits.HEAD_SECONDS
    keepalive_seconds: float = limits.KEEPALIVE_SECONDS
    linger_seconds: float = limits.LINGER_SECONDS
    half_closed_seconds: float = limits.HALF_CLOSED_SECONDS
    local_tls_seconds: float = limits.LOCAL_TLS_SECONDS
    body_min_rate: int = limits.BODY_MIN_RATE
    read_min_rate: int = limits.READ_MIN_RATE
    pace_seconds: float = limits.PACE_SECONDS
    visitors_per_tunnel: int = limits.VISITORS_PER_TUNNEL
    pool_idle_seconds: float = limits.POOL_IDLE_SECONDS
    pool_idle_streams: int = limits.POOL_IDLE_STREAMS
    tick_seconds: float = limits.EDGE_TICK_SECONDS


@dataclass(frozen=True, slots=True)
class Shared:
    """One per edge."""

    domain: str
    clock: Clock
    report: Report
    is_reserved: IsReserved
    gateway: Endpoint
    """The originator of pooled streams, which serve many visitors."""
    tls: ssl.SSLContext
    """For local services that speak TLS."""
    bounds: Bounds
    loops: Loops
    to_ssh: Callable[[], bytes]
    """Returns the answer to an SSH client that has come to a port of this edge."""
    own_page: Callable[[], OwnPage]
    """Returns the page at the gateway's own name."""

    def refused(self, scheme: str, peer: Endpoint, status: int, reason: str) -> None:
        """Report an answer of the edge's own to a visitor of no tunnel, unless it is the page that was asked for."""
        if status != 200:
            self.report("edge.refused", edge=scheme, status=status, peer=str(peer), reason=reason)
