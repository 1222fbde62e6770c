"""When the key exchanges of one connection may begin, and which KEXINIT is sent first.

The client's first choice among the *server's offer* decides (RFC 4253 §7.1). Stock OpenSSH prefers chacha20, which costs
this process three times as much as AES-GCM. So a client that lists AES-GCM is offered nothing else (`algorithms`), and all
other clients get the full list. For that our first KEXINIT waits for the client's, KEXINIT_WAIT_SECONDS at most: half a
round trip at log-in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ferry import limits
from ferry.limiters.rate import Spacing


class Later(Protocol):
    """`call_later` of an event loop."""

    def __call__(self, seconds: float, callback: Callable[[], None], /) -> asyncio.TimerHandle: ...


class KeyExchanges:
    """The exchanges of one connection. All times are the loop's. Without `waits` our first KEXINIT waits for nothing."""

    def __init__(self, *, waits: bool) -> None:
        self._timer: asyncio.TimerHandle | None = None
        """It runs while our first KEXINIT waits."""
        self._to_wait = waits
        """Our first KEXINIT is still to wait for the client's."""
        self._spacings = [Spacing(limits.KEY_EXCHANGES_TOGETHER, limits.KEY_EXCHANGES_PER_SECOND)]
        """What the next exchange waits for: this connection's, and after the log-in its identity's too."""

    def await_theirs(self, later: Later, send: Callable[[], None]) -> bool:
        """Our KEXINIT is due. True if it waits for the client's; `send` is called if that does not come in time: the
        client waits for ours (RFC 4253 §7.1 allows it, few do it)."""
        if not self._to_wait:
            return False
        self._to_wait = False
        self._timer = later(limits.KEXINIT_WAIT_SECONDS, lambda: self._give_up(send))
        return True

    def _give_up(self, send: Callable[[], None]) -> None:
        self._timer = None
        send()

    def received(self) -> bool:
        """The client's KEXINIT has come. True if ours has waited for it: send it now."""
        if self._timer is None:
            return False
        self._timer.cancel()
        self._timer = None
        return True

    def space(self, spacing: Spacing) -> None:
        """The client has logged in: `spacing` is shared by all connections of its identity."""
        self._spacings.append(spacing)

    def wait(self, now: float) -> float:
        """Count one more exchange. The seconds to wait before it."""
        return max(spacing.wait(now) for spacing in self._spacings)
