"""Closes a public port that is an open proxy.

`ssh -R 30042 gw`, without a target, makes the client a SOCKS proxy. On a public port it lets anybody use the network
behind the client. `protocol.socks` recognises the proxy by its first answer, which never reaches the visitor.
"""

from __future__ import annotations

from collections.abc import Callable

from ferry.protocol.socks import SocksRecogniser, Verdict
from ferry.visits import Traffic

from .bridge import Bridge, BridgeOwner


class GuardedBridge(Bridge):
    """A bridge that checks the start of a visit for SOCKS, and then works as any other. It calls `found` after it has cut
    the visitor of a proxy."""

    def __init__(self, *, traffic: Traffic, owner: BridgeOwner, found: Callable[[], None]) -> None:
        super().__init__(traffic=traffic, owner=owner)
        self._found = found
        self._recogniser: SocksRecogniser | None = SocksRecogniser()

    @property
    def open_proxy(self) -> bool:
        """A SOCKS proxy has answered."""
        return self._recogniser is not None and self._recogniser.verdict is Verdict.PROXY

    def near_data(self, data: bytes) -> None:
        if self._recogniser is not None and self._recogniser.visitor(data) is Verdict.CLEAN:
            self._let_through()
        super().near_data(data)

    def data_received(self, data: bytes) -> None:
        if self._recogniser is not None:
            match self._recogniser.tunnel(data):
                case Verdict.MORE:
                    return
                case Verdict.PROXY:
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
        """This is not SOCKS, or the check can learn no more: relay the buffered bytes first."""
        recogniser = self._recogniser
        if recogniser is None or recogniser.verdict is Verdict.PROXY:
            return
        self._recogniser = None
        if recogniser.buffered:
            super().data_received(recogniser.buffered)
