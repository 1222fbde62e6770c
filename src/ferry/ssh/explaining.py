"""Answers `ssh gw explain`: what the gateway would say to a forward, without claiming, opening or looking up anything."""

from __future__ import annotations

from ferry.clock import Clock
from ferry.errors import InvalidInput, Refusal
from ferry.policy.grants import Grant, SocketGrant
from ferry.policy.reach import HostAnswer
from ferry.registry.contract import Registry, TakenBy

from .claims import code_of, of_another
from .judging import over_limit_of
from .kept_ports import grant_of, naming_own_ports
from .tunnel_client import TunnelClient
from .tunnels import EXHAUSTED, Tunnels

Explained = Grant | HostAnswer | SocketGrant | Refusal
"""What a forward would get: a tunnel or a stream to one, a host that the gateway would look up, a socket, or the reason why
not."""


class Explainer:
    """Says what `-R` would get. `DirectChannels.explain` says it of the others."""

    def __init__(self, tunnels: Tunnels, registry: Registry, clock: Clock) -> None:
        self._tunnels = tunnels
        self._registry = registry
        self._clock = clock

    async def listening(self, client: TunnelClient, host: bytes, port: int) -> Grant | Refusal:
        try:
            asked = await self._tunnels.asked(client, host, port)
        except InvalidInput as error:
            return Refusal(str(error), code="invalid", detail=error.detail, repeats_input=True)
        if isinstance(asked, Refusal):
            return asked
        undecided, address = asked
        settings, identity = undecided.settings, client.identity
        answer: Grant | Refusal = EXHAUSTED
        for one in self._tunnels.candidates(undecided, []) if address is None else (address,):
            answer = grant_of(identity, one, settings, undecided.judge)
            if isinstance(answer, Grant):
                refusal = await over_limit_of(answer.rule, self._tunnels.holders, client, settings)
                kept = await self._registry.reservation(one, now=self._clock.now(), keep=settings.rules.keep)
                if kept is not None and kept.owner != identity.id:
                    refusal = refusal or Refusal(of_another(one), code=code_of(TakenBy.RESERVED))
                if refusal is None:
                    return answer
                answer = refusal
        if address is None or isinstance(answer, Grant):
            return answer
        return await naming_own_ports(self._registry, client, address, answer)
