"""What a client is told of where a visitor comes from (RFC 4254 §7.2)."""

from __future__ import annotations

from ferry.names import Endpoint
from ferry.streams import ANY_VISITOR


def sayable(originator: Endpoint) -> Endpoint:
    """`originator`, or ANY_VISITOR where it is no endpoint that a socket can have.

    Go's x/crypto/ssh refuses a channel whose originator has port 0 or no numeric host, and its tunnel then never works.
    Every channel that we open passes here, because a visitor who left before we asked has neither.
    """
    return originator if originator.host and 0 < originator.port <= 0xFFFF else ANY_VISITOR
