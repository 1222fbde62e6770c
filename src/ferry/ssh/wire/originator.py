"""The originator of a visitor, as a client gets it (RFC 4254 §7.2)."""

from __future__ import annotations

from ferry.names import Endpoint
from ferry.streams import ANY_VISITOR


def valid_originator(originator: Endpoint) -> Endpoint:
    """`originator`, or ANY_VISITOR if no socket can have such an endpoint.

    Go's x/crypto/ssh refuses a channel whose originator has port 0 or no numeric host, so that its tunnel never works.
    All channels that we open pass here, because a visitor that has left already has neither.
    """
    return originator if originator.host and 0 < originator.port <= 0xFFFF else ANY_VISITOR
