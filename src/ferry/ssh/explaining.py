"""Answers `ssh gw explain`: what the gateway would say to a forward, without claiming, opening or looking up anything."""

from __future__ import annotations

from ferry.errors import Refusal
from ferry.policy.grants import Grant, SocketGrant
from ferry.policy.reach import HostAnswer

from .claims import Claims
from .forward_decisions import ForwardDecisions, PermittedForward
from .tunnel_client import TunnelClient

Explained = Grant | HostAnswer | SocketGrant | Refusal
"""What a forward would get: a tunnel or a stream to one, a host that the gateway would look up, a socket, or the reason why
not."""


class Explainer:
    """Says what `-R` would get. `DirectChannels.explain` says it of the others."""

    def __init__(self, decisions: ForwardDecisions, claims: Claims) -> None:
        self._decisions = decisions
        self._claims = claims

    async def listening(self, client: TunnelClient, host: bytes, port: int) -> Grant | Refusal:
        """The grant that a `tcpip-forward` of this client would get now, or the refusal."""
        return await self._decisions.decide(client, host, port, self._granted)

    async def _granted(self, permitted: PermittedForward) -> Grant | Refusal:
        """The last step of a decision: what the registry would say, and the port or the socket."""
        if (refusal := await self._claims.would_refuse(permitted.claim)) is not None:
            return refusal
        if permitted.opening is None or permitted.holder is not None:  # a tunnel that gives way frees its port
            return permitted.grant
        return permitted.settings.ports.would_refuse(permitted.opening) or permitted.grant
