"""The level of each event, as in `logging`. `log.level` filters by it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

LEVELS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "gateway.started": logging.INFO,
        "gateway.draining": logging.INFO,
        "gateway.stopped": logging.INFO,
        "config.reloaded": logging.INFO,
        "config.rejected": logging.ERROR,
        "handshake.started": logging.DEBUG,
        "connection.opened": logging.INFO,
        "connection.closed": logging.INFO,
        "reach.refused": logging.INFO,
        "request.refused": logging.INFO,
        "reach.opened": logging.DEBUG,
        "reach.failed": logging.DEBUG,
        "reach.closed": logging.DEBUG,
        "operator.acted": logging.INFO,
        "records.lost": logging.ERROR,
        "records.file_failed": logging.ERROR,
        "tunnel.opened": logging.INFO,
        "tunnel.closed": logging.INFO,
        "tunnel.refused": logging.INFO,
        "tunnel.takeover": logging.INFO,
        "host.opened": logging.INFO,
        "host.closed": logging.INFO,
        "channel.opened": logging.DEBUG,
        "channel.failed": logging.INFO,
        "visit": logging.INFO,
        "visits": logging.INFO,
        "edge.refused": logging.INFO,
        # Scanners fail TLS by the thousand: a line each would bury the rest.
        "tls.failed": logging.DEBUG,
        "certificate.loaded": logging.INFO,
        "certificate.rejected": logging.ERROR,
        "store.failed": logging.ERROR,
        "store.recovered": logging.INFO,
        "store.dropped": logging.ERROR,
        "accept.paused": logging.WARNING,
        "accept.stopped": logging.WARNING,
        "accept.resumed": logging.WARNING,
        "handshakes.crowded": logging.WARNING,
        "address.blocked": logging.WARNING,
        "address.unblocked": logging.INFO,
        "keys.loaded": logging.INFO,
        "policy.loaded": logging.INFO,
        "policy.rejected": logging.ERROR,
        "keys.rejected": logging.ERROR,
        "keys.unclear": logging.WARNING,
        "keys.refused": logging.INFO,
        "keys.denied": logging.INFO,
        "keys.entered": logging.INFO,
        "keys.replaced": logging.INFO,
        "keys.forgotten": logging.INFO,
        "listener.skipped": logging.WARNING,
        "port.taken": logging.INFO,
        "name.reserved": logging.INFO,
        "name.freed": logging.INFO,
        "memory.trimmed": logging.DEBUG,
        "loop.lag": logging.WARNING,
        "log.dropped": logging.WARNING,
        "lines.omitted": logging.WARNING,
        "events.dropped": logging.WARNING,
        "report.failed": logging.ERROR,
    }
)

HANDSHAKE_LEVELS: Final[Mapping[object, int]] = MappingProxyType(
    {
        "ok": logging.DEBUG,
        "failed": logging.INFO,
        "timeout": logging.INFO,
        "displaced": logging.DEBUG,
        "limit": logging.DEBUG,
        "blocked": logging.DEBUG,
    }
)
"""The level of `handshake.ended`, by its outcome. `connection.opened` follows `ok` and says more. Floods cause the last
three by the thousand; `handshakes.crowded` sums them up."""

NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
)


def level_of(event: str, fields: Mapping[str, object]) -> int:
    """The level (as in `logging`) of `event`; INFO for an event that is not in the table."""
    if event == "handshake.ended":
        return HANDSHAKE_LEVELS.get(fields.get("outcome"), logging.INFO)
    return LEVELS.get(event, logging.INFO)


def level_name(level: int) -> str:
    """`info` for 20: the greatest named level that is not above `level`."""
    return NAMES.get(level) or max((pair for pair in NAMES.items() if pair[0] <= level), default=(0, "debug"))[1]


def parse_level(name: str) -> int:
    """The inverse of `level_name`, for `log.level`. Raises KeyError on a name that the configuration does not allow."""
    return {text: level for level, text in NAMES.items()}[name]
