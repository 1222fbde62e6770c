"""Answers `ssh gw explain`: what the gateway would say to a forward, without claiming, opening or looking up anything."""

from __future__ import annotations

from typing import NamedTuple

from ferry.errors import Refusal
from ferry.kinds.base import ListenPort
from ferry.policy.grants import Grant, SocketGrant
from ferry.policy.reach import HostAnswer

from .claims import Claims
from .forward_decisions import ForwardDecisions, PermittedForward
from .tunnel_client import TunnelClient


class WouldOpen(NamedTuple):
    """A tunnel that `-R` would open."""

    grant: Grant
    instead: str
    """Why its port would listen on loopback addresses only, although another one is asked for; empty if it would not."""


Explained = WouldOpen | Grant | HostAnswer | SocketGrant | Refusal
"""What a forward would get: a tunnel, a stream to one, a host that the gateway would look up, a socket, or the reason why
not."""


class Explainer:
    """Says what `-R` would get. `DirectChannels.explain` says it of the others."""

    def __init__(self, decisions: ForwardDecisions, claims: Claims) -> None:
        self._decisions = decisions
        self._claims = claims

    async def listening(self, client: TunnelClient, host: bytes, port: int) -> WouldOpen | Refusal:
        """What a `tcpip-forward` of this client would open now, or the refusal."""
        return await self._decisions.decide(client, host, port, self._granted)

    async def _granted(self, permitted: PermittedForward) -> WouldOpen | Refusal:
        """The last step of a decision: what the registry would say, and the port or the socket."""
        if (refusal := await self._claims.would_refuse(permitted.claim)) is not None:
            return refusal
        opening = permitted.opening
        instead = opening.kept_local(permitted.request.host) if isinstance(opening, ListenPort) else ""
        would_open = WouldOpen(permitted.grant, instead)
        if opening is None or permitted.holder is not None:  # a tunnel that gives way frees its port
            return would_open
        return permitted.settings.ports.would_refuse(opening) or would_open
