"""A client that has logged in, as the log-in hands it over."""

from __future__ import annotations

from dataclasses import dataclass

from ferry.names import ConnectionId, Endpoint, Identity
from ferry.policy.keys import KeyLine


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """The facts about a client that has logged in."""

    id: ConnectionId
    identity: Identity
    user: str
    """The login name."""
    peer: Endpoint
    origin: str
    """Its origin, by `ferry.limiters.origins`."""
    client_version: str
    began: float
    """The time of the accept, in seconds since the epoch."""
    key_line: KeyLine
    """The line of the key files that has let it in, with its options."""
    host: str
    """The name of its host, or its address if nobody has looked it up."""
    local: Endpoint
    """The gateway's own end of the connection."""
    algorithms: tuple[str, ...] = ()
    """Those with which its keys have signed."""
