"""The requests for forwards of one connection, from each request to its answer."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ferry import limits, tasks
from ferry.callbacks import call_each
from ferry.errors import Refusal

from .holding import HeldTunnel, Holding, RequestedForward
from .reasons import Reasons
from .refusals import RefusedForward
from .tunnel import SshTunnel
from .tunnel_client import TunnelClient
from .tunnels import Tunnels
from .wire.requests import Answered

_log = logging.getLogger("ferry.ssh")


class RequestingClient(TunnelClient, Protocol):
    """The client that requests the forwards."""

    def forward_granted(self, tunnel: SshTunnel, /) -> None:
        """The gateway has granted a forward, and answered the request."""
        ...

    def forward_refused(self, refusal: Refusal, host: bytes, port: int, /) -> RefusedForward:
        """The gateway refuses a forward; the answer follows. Returns the refusal as its sessions show it."""
        ...


class ForwardRequests:
    """The requests of one client. It reports each decision to the client."""

    __slots__ = (
        "_client",
        "_holding",
        "_outcomes",
        "_reasons",
        "_settled",
        "_tunnels",
        "_undecided",
        "_unshown",
        "count",
    )

    def __init__(self, client: RequestingClient, tunnels: Tunnels, holding: Holding, reasons: Reasons) -> None:
        self._client = client
        self._tunnels = tunnels
        self._holding = holding
        self._reasons = reasons
        self._undecided = 0
        """The number of undecided requests."""
        self._settled: list[Callable[[], None]] = []
        self.count = 0
        """The number of requests so far."""
        self._outcomes: deque[SshTunnel | RefusedForward] = deque(maxlen=limits.OUTCOMES_REMEMBERED)
        self._unshown = 0

    # --- from the request to its answer

    def read(self, host: bytes, port: int) -> Callable[[Answered], None]:
        """Note a `tcpip-forward` request that was read. The caller calls the result in its turn, to decide it."""
        self.count += 1
        self._undecided += 1
        forward = self._holding.requested()

        def decide(answer: Answered) -> None:
            tasks.spawn(f"forward {self._client.id}", self._forward(forward, host, port, answer))

        return decide

    async def _forward(self, forward: RequestedForward, host: bytes, port: int, answer: Answered) -> None:
        try:
            decision: SshTunnel | RefusedForward | None = None
            try:
                decision = await self._decide(forward, host, port)
            finally:
                if isinstance(decision, SshTunnel):
                    self._grant(forward, decision, answer)
                else:
                    self._refuse(forward, decision, answer)
        finally:
            self._decided()

    async def _decide(self, forward: RequestedForward, host: bytes, port: int) -> SshTunnel | RefusedForward | None:
        """A tunnel, a refusal, or None if its session has closed the forward."""
        decision = await self._tunnels.open(self._client, host, port)
        if isinstance(decision, Refusal):
            return self._client.forward_refused(decision, host, port)
        if forward.refused is not None:  # its words came during the decision
            self._tunnels.close(decision, forward.refused, unwanted=True)
            return None
        return decision

    def _refuse(self, forward: RequestedForward, refused: RefusedForward | None, answer: Answered) -> None:
        self._holding.forget(forward)
        answer(None, held=refused is not None and self._reasons.hold(refused, early=forward.early))

    def _grant(self, forward: RequestedForward, tunnel: SshTunnel, answer: Answered) -> None:
        self._reasons.used()
        tunnel.on_close(partial(self._holding.forget, forward))
        # its visitors wait until the answer has left, which may be held behind a refusal
        answer(tunnel.bind[1], sent=lambda silence: self._holding.granted(forward, tunnel, silence=silence))
        self._keep(tunnel)
        self._client.forward_granted(tunnel)

    def _decided(self) -> None:
        self._undecided -= 1
        if not self._undecided:
            self._reasons.decided()
            settled, self._settled = self._settled, []
            call_each(_log, "a session failed to begin", settled)

    def refused(self, refused: RefusedForward) -> None:
        """Keep a refusal for sessions that begin later."""
        self._keep(refused)

    def _keep(self, outcome: SshTunnel | RefusedForward) -> None:
        self._outcomes.append(outcome)
        self._unshown = min(self._unshown + 1, limits.OUTCOMES_REMEMBERED)

    @property
    def outcomes(self) -> list[SshTunnel | RefusedForward]:
        """The last `limits.OUTCOMES_REMEMBERED` outcomes, oldest first."""
        return list(self._outcomes)

    @property
    def unshown(self) -> list[SshTunnel | RefusedForward]:
        """Those of `outcomes` that came after the last session had begun."""
        return self.outcomes[len(self._outcomes) - self._unshown :]

    @property
    def all_decided(self) -> bool:
        """Whether no request waits for its decision."""
        return not self._undecided

    @property
    def answers_held(self) -> bool:
        """Whether answers to refused forwards are held."""
        return self._reasons.held

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` once every request is decided."""
        if self._undecided:
            self._settled.append(callback)
        else:
            callback()

    def close(self) -> None:
        """The connection is gone."""
        self._reasons.close()

    # --- the sessions whose words shape them

    def session_opened(self) -> int:
        """The number of a new session."""
        self._reasons.session_opened()
        return self._holding.session_opened()

    def outcomes_shown(self) -> None:
        """A session has begun, and has shown the outcomes so far."""
        self._unshown = 0
        self._reasons.shown()

    def channel_opened(self) -> None:
        """The client has opened a channel that is no session."""
        self._reasons.used()

    def session_gone(self, number: int) -> None:
        """A session has closed without words."""
        self._holding.session_gone(number)

    def words_said(self, number: int, host_header: str) -> int:
        """The words of a session are valid; `host_header` is as in `Words`. Returns the number of forwards that they
        shape."""
        return self._holding.words_said(number, host_header)

    def made_connection(self, number: int) -> bool:
        """Whether the command of a session, whose words are known, has made the connection for its forwards."""
        return self._holding.made_connection(number)

    def words_refused(self, number: int, why: str) -> int:
        """The words of a session are invalid: close the forwards that they shape, with the reason `why` for the log.
        Returns the number of these forwards."""
        shaped = self._holding.words_refused(number, why)
        unwanted: list[HeldTunnel | None] = [forward.tunnel for forward in shaped]
        for tunnel in [one for one in self._tunnels.of_connection(self._client.id).values() if one in unwanted]:
            self._tunnels.close(tunnel, why, unwanted=True)
        return len(shaped)
