"""Closes a public port that is an open proxy.

`ssh -R 30042 gw`, without a target, makes the client a SOCKS proxy. On a public port it lets anybody use the network
behind the client. `protocol.socks` recognises the proxy by its first answer, which never reaches the visitor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ferry.protocol.socks import SocksRecogniser, Verdict
from ferry.visits import Traffic

from .bridge import Bridge


class GuardedBridge(Bridge):
    """A bridge that checks the start of a visit for SOCKS, and then works as any other."""

    def __init__(
        self,
        *,
        traffic: Traffic,
        on_end: Callable[[Bridge], None],
        connected: Callable[[Bridge, asyncio.Transport], None] | None = None,
        crowd: Callable[[], int] = lambda: 0,
        found: Callable[[], None],
    ) -> None:
        super().__init__(traffic=traffic, on_end=on_end, connected=connected, crowd=crowd)
        self.open_proxy = False
        self._found = found
        self._recogniser: SocksRecogniser | None = SocksRecogniser()
        self._held = b""

    def near_data(self, data: bytes) -> None:
        if self._recogniser is not None and self._recogniser.visitor(data) is Verdict.CLEAN:
            self._let_through()
        super().near_data(data)

    def data_received(self, data: bytes) -> None:
        if self._recogniser is not None:
            match self._recogniser.tunnel(data):
                case Verdict.MORE:
                    self._held += data  # less than a reply: 8 bytes
                    return
                case Verdict.PROXY:
                    self.open_proxy = True
                    self.cut()
                    self._found()
                    return
                case Verdict.CLEAN:
                    self._let_through()
        super().data_received(data)

    def eof_received(self) -> None:
        self._let_through()
        super().eof_received()

    def stream_lost(self, error: Exception | None) -> None:
        self._let_through()
        super().stream_lost(error)

    def _let_through(self) -> None:
        """This is not SOCKS, or the check can learn no more: relay the held bytes first."""
        self._recogniser = None
        held, self._held = self._held, b""
        if held:
            super().data_received(held)
