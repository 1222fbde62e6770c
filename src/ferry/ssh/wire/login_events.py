"""The steps of a log-in, as its connection tells them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import asyncssh

from ferry.protocol.first_bytes import FirstBytes


class LoginEvents(Protocol):
    """The receiver of a connection's log-in events."""

    @property
    def host(self) -> str:
        """The client's address."""
        ...

    @property
    def tries(self) -> int:
        """The number of refused keys so far."""
        ...

    def transport_made(self) -> bool:
        """The transport of the socket is there. False if its slot has gone to another client: begin no log-in."""
        ...

    def keys_exchanged(self) -> None:
        """A key exchange has ended. Called again for each one after the log-in."""
        ...

    def method_asked(self, algorithm: str, /) -> bool:
        """Count an authentication request (RFC 4252 §5), which names this algorithm of a key, or none. False past AUTH_REQUESTS: the callee has ended the
        connection."""
        ...

    @property
    def signatures(self) -> Sequence[str]:
        """The algorithms with which a key may sign, of any client."""
        ...

    def key_offered(self, key_data: bytes, algorithm: str, /) -> bool:
        """A key is offered, which nobody has decoded yet. False if it would cost too much, or is too weak. `algorithm` is that
        of its signature; empty if it has not signed."""
        ...

    async def certificate_offered(self, user: str, key_data: bytes, /) -> asyncssh.SSHKey | None:
        """The key of a certificate that may log in; None if `key_data` is none of these."""
        ...

    def key_refused(self) -> None:
        """The key is not acceptable, or its signature is wrong."""
        ...

    async def key_proven(self, user: str, key_data: bytes, flags: int | None, /) -> bool:
        """A key has signed: bind its identity, or remember the key until the others have signed that the log-in needs. False
        if it may not log in now. `flags` are those of a security key."""
        ...

    def may_enter(self) -> bool:
        """Whether the log-in has all that it needs. If not, what it has proved is a part of that."""
        ...

    def broke_protocol(self) -> None:
        """The client has sent bytes that are not SSH. Called after the log-in too."""
        ...

    def wrong_port(self, spoken: FirstBytes, /) -> bytes:
        """The answer to a client that speaks HTTP or TLS."""
        ...

    def took_too_long(self) -> None:
        """The time for a log-in is over."""
        ...

    def lost(self) -> None:
        """The connection is gone. Called after the log-in too."""
        ...
