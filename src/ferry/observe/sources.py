"""Names the source of each event that a peer can cause at will. `budgeted` gives each source a budget of log lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

Fields = Mapping[str, object]

CAUSED_BY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "handshake.started": "peer",
        "handshake.ended": "peer",
        "address.blocked": "address",
        "connection.opened": "peer",
        "reach.refused": "connection",
        "request.refused": "connection",
        "reach.opened": "connection",
        "reach.failed": "connection",
        "reach.closed": "connection",
        "connection.closed": "peer",
        "tunnel.opened": "connection",
        "tunnel.closed": "connection",
        "tunnel.refused": "connection",
        "host.opened": "connection",
        "host.closed": "connection",
        "channel.opened": "tunnel",
        "channel.failed": "tunnel",
        "edge.refused": "peer",
        "tls.failed": "peer",
        "keys.refused": "peer",
        "keys.denied": "peer",
        "listener.skipped": "address",
        "name.reserved": "identity",
        "name.freed": "identity",
        # A full disk is told once by the store itself, and again for each peer that it turns away.
        "store.failed": "error",
        "report.failed": "about",
    }
)
"""Event → the field that names its source: a connection, a tunnel, an identity or an address."""

RARE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gateway.started": "once",
        "gateway.draining": "once",
        "gateway.stopped": "once",
        "config.reloaded": "the operator's",
        "operator.acted": "the operator's",
        "records.lost": "once each time that the queue is full",
        "records.file_failed": "once each time that the file fails",
        "config.rejected": "the operator's",
        "address.unblocked": "the operator's",
        "keys.loaded": "the operator's files",
        "keys.entered": "the operator's",
        "keys.replaced": "the operator's",
        "keys.forgotten": "the operator's",
        "policy.loaded": "the operator's files",
        "policy.rejected": "the operator's files",
        "keys.rejected": "the operator's files",
        "keys.unclear": "the operator's files",
        "certificate.loaded": "the operator's files",
        "certificate.rejected": "the operator's files",
        "handshakes.crowded": "a minute apart",
        "accept.paused": "ACCEPT_PAUSE_SECONDS apart and more",
        "port.taken": "PORT_OWNERS_PACE_SECONDS apart",
        "accept.stopped": "DESCRIPTORS_QUIET_SECONDS apart",
        "accept.resumed": "one for each stop",
        "store.recovered": "one for each time that the store itself fails",
        "store.dropped": "counts rows, one a gap",
        "memory.trimmed": "TRIM_LOOK_SECONDS apart",
        "loop.lag": "LAG_SAMPLE_SECONDS apart",
        "tunnel.takeover": "limited by FLAP_TAKEOVERS, and its loser must be told why",
        "log.dropped": "sums up",
        "lines.omitted": "sums up",
        "visits": "sums up",
        "events.dropped": "shown to one follower, never logged",
        "visit": "has a budget by tunnel, and sums of its own",
    }
)
"""Events that are always logged, and why they are few. A test checks that each event of `LEVELS` is in one of the two
tables."""


def cause(event: str, fields: Fields, counted: Callable[[str], str]) -> str:
    """The source of a budgeted `event`; empty where it has none. A peer's address counts without its port, and `counted`
    maps it to its source; empty for an address that is not counted."""
    named = CAUSED_BY[event]
    text = str(fields.get(named, ""))
    return counted(host_of(text)) if named == "peer" else text


def host_of(peer: str) -> str:
    """A peer's address without its port, if it has one."""
    if peer.startswith("["):  # an `Endpoint` of IPv6
        return peer[1:].partition("]")[0]
    return peer.partition(":")[0] if peer.count(":") == 1 else peer
