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
from .refusals import RefusedForward
from .tunnel import SshTunnel
from .tunnels import TunnelClient, Tunnels
from .wire.requests import Answered

_log = logging.getLogger("ferry.ssh")


class RequestingClient(TunnelClient, Protocol):
    """The client that requests the forwards."""

    def forward_granted(self, tunnel: SshTunnel, /) -> None:
        """The gateway has granted a forward, and answered the request."""
        ...

    def forward_refused(self, refusal: Refusal, host: bytes, port: int, /) -> None:
        """The gateway refuses a forward; the answer follows."""
        ...


class ForwardRequests:
    """The requests of one client. It reports each decision to the client."""

    __slots__ = ("_client", "_holding", "_outcomes", "_settled", "_tunnels", "_undecided", "count")

    def __init__(self, client: RequestingClient, tunnels: Tunnels, holding: Holding) -> None:
        self._client = client
        self._tunnels = tunnels
        self._holding = holding
        self._undecided = 0
        """The number of undecided requests."""
        self._settled: list[Callable[[], None]] = []
        self.count = 0
        """The number of requests so far, with those for forwards that Ferry lacks."""
        self._outcomes: deque[SshTunnel | RefusedForward] = deque(maxlen=limits.OUTCOMES_REMEMBERED)

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
        tunnel: SshTunnel | None = None
        try:
            try:
                tunnel = await self._decide(forward, host, port)
            finally:
                self._answer(forward, tunnel, answer)
        finally:
            self._decided()

    def _answer(self, forward: RequestedForward, tunnel: SshTunnel | None, answer: Answered) -> None:
        silence = answer(None if tunnel is None else tunnel.bind[1])
        if tunnel is None:
            self._holding.forget(forward)
            return
        self._holding.granted(forward, tunnel, silence=silence)
        tunnel.on_close(partial(self._holding.forget, forward))
        self._outcomes.append(tunnel)
        self._client.forward_granted(tunnel)

    def _decided(self) -> None:
        self._undecided -= 1
        if not self._undecided:
            settled, self._settled = self._settled, []
            call_each(_log, "a session failed to begin", settled)

    async def _decide(self, forward: RequestedForward, host: bytes, port: int) -> SshTunnel | None:
        tunnel = await self._tunnels.open(self._client, host, port)
        if isinstance(tunnel, Refusal):
            self._client.forward_refused(tunnel, host, port)
            return None
        if forward.refused is not None:  # its words came during the decision
            self._tunnels.close(tunnel, forward.refused, unwanted=True)
            return None
        return tunnel

    def odd_read(self) -> None:
        """Count a request for a forward that Ferry lacks."""
        self.count += 1

    def refused(self, refused: RefusedForward) -> None:
        """Keep a refusal for sessions that begin later."""
        self._outcomes.append(refused)

    @property
    def outcomes(self) -> list[SshTunnel | RefusedForward]:
        """The last `limits.OUTCOMES_REMEMBERED` outcomes, oldest first."""
        return list(self._outcomes)

    @property
    def all_decided(self) -> bool:
        """Whether no request waits for its decision."""
        return not self._undecided

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` once every request is decided."""
        if self._undecided:
            self._settled.append(callback)
        else:
            callback()

    # --- the sessions whose words shape them

    def session_opened(self) -> int:
        """The number of a new session."""
        return self._holding.session_opened()

    def session_gone(self, number: int) -> None:
        """A session has closed without words."""
        self._holding.session_gone(number)

    def words_said(self, number: int, host_header: str) -> int:
        """The words of a session are valid; `host_header` is as in `Words`. Returns the number of forwards that they
        shape."""
        return self._holding.words_said(number, host_header)

    def words_refused(self, number: int, why: str) -> int:
        """The words of a session are invalid: close the forwards that they shape, with the reason `why` for the log.
        Returns the number of these forwards."""
        shaped = self._holding.words_refused(number, why)
        unwanted: list[HeldTunnel | None] = [forward.tunnel for forward in shaped]
        for tunnel in [one for one in self._tunnels.of_connection(self._client.id).values() if one in unwanted]:
            self._tunnels.close(tunnel, why, unwanted=True)
        return len(shaped)
