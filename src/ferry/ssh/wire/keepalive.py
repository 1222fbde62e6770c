"""asyncssh's keepalives: each packet records its time instead of a new timer, and a connection can have times of its own."""

from __future__ import annotations

from typing import Any

from asyncssh.connection import SSHServerConnection


def asks_within(intervals: int) -> int:
    """The questions that a peer may leave unanswered, if it is gone after so many intervals of silence. asyncssh ends a
    connection one interval after the last question: 45 s as shipped, and one question at least."""
    return max(1, intervals - 1)


class KeepaliveConnection(SSHServerConnection):
    """asyncssh's server connection with these keepalives."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heard = 0.0
        """The loop's time when the peer last sent something."""

    def keep_alive(self, interval: float | None, count: int | None) -> None:
        """Ask the peer for a sign of life after `interval` seconds of silence (0: never), and end the connection after
        `count` such intervals. None: as the options of all connections say."""
        options = self._options
        self._keepalive_count_max = options.keepalive_count_max if count is None else asks_within(count)
        interval = options.keepalive_interval if interval is None else interval
        if interval != self._keepalive_interval:
            self._keepalive_interval = interval
            self._cancel_keepalive_timer()
            self._set_keepalive_timer()

    def _reset_keepalive_timer(self) -> None:
        self._heard = self._loop.time()

    def _keepalive_timer_callback(self) -> None:
        quiet = self._loop.time() - self._heard
        if quiet < self._keepalive_interval:
            self._keepalive_count = 0
            self._keepalive_timer = self._loop.call_later(
                self._keepalive_interval - quiet, self._keepalive_timer_callback
            )
        else:
            super()._keepalive_timer_callback()
