"""Channels that close once their peer has taken their last bytes. A peer may never take them.

The visitor behind such a channel is gone, and no other bound counts it. Without this module the channel would keep its
number and its place among the connection's channels for ever.
"""

from __future__ import annotations

from typing import Final

from ferry import limits

from .channel_state import OwnedChannel, State
from .pieces import Pieces

_ENDED: Final = (State.ABANDONED, State.CLOSING, State.CLOSED)


class Endings:
    """The closing channels of one connection."""

    def __init__(self) -> None:
        self._waiting: dict[OwnedChannel, Pieces] = {}
        """Each channel's unsent bytes."""
        self._moved: dict[OwnedChannel, tuple[int, float]] = {}
        """The number of unsent bytes at its last change, and the time of that change."""

    def add(self, channel: OwnedChannel, unsent: Pieces) -> None:
        """`channel` closes once its peer has taken `unsent`."""
        self._waiting[channel] = unsent

    def discard(self, channel: object) -> None:
        """A channel has ended; it need not be one of these."""
        if channel in self._waiting:
            self._forget(channel)

    def look(self, now: float) -> None:
        """Abort the channels whose peer has taken nothing for STUCK_SECONDS. `now` only grows."""
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
        self._waiting.pop(channel, None)  # the abort of one may end the connection, and the other channels with it
        self._moved.pop(channel, None)
