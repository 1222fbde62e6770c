"""Channels that close once their peer has taken what they hold, which a peer may never do.

Whoever closed them has gone and counts nowhere any more; but the channel's number, and its place among the channels of its
connection, would be in use for ever.
"""

from __future__ import annotations

from typing import Final

from ferry import limits

from .channel_state import OwnedChannel, State
from .pieces import Pieces

_ENDED: Final = (State.ABANDONED, State.CLOSING, State.CLOSED)


class Endings:
    """Those of one connection."""

    def __init__(self) -> None:
        self._waiting: dict[OwnedChannel, Pieces] = {}
        """With what their peers have not taken."""
        self._moved: dict[OwnedChannel, tuple[int, float]] = {}
        """How much that was when it last changed, and when it did."""

    def add(self, channel: OwnedChannel, unsent: Pieces) -> None:
        """`channel` is to close once its peer has taken `unsent`."""
        self._waiting[channel] = unsent

    def discard(self, channel: object) -> None:
        """It has ended, if it was one of them."""
        if channel in self._waiting:
            self._forget(channel)

    def look(self, now: float) -> None:
        """Abort those of which nothing was taken for STUCK_SECONDS. `now` only grows."""
        for channel, unsent in list(self._waiting.items()):
            size, since = self._moved.get(channel, (-1, now))
            if channel.state in _ENDED:
                self._forget(channel)
            elif size != unsent.size:
                self._moved[channel] = (unsent.size, now)
            elif now - since > limits.STUCK_SECONDS:
                self._forget(channel)
                channel.abort()

    def _forget(self, channel: OwnedChannel) -> None:
        self._waiting.pop(channel, None)  # the abort of one may have ended others, with their connection
        self._moved.pop(channel, None)
