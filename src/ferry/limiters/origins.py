"""Where a connection comes from, as one text, so that a port can tell its visitors from its own client's streams.

A port whose target is a port of this gateway, its own or another's, sends its visitors in again, and again. They come
from the tunnel's client, and by which address is the target's choice: `[::1]` in place of `127.0.0.1`, the host's name
in place of either. So addresses of one source are one origin, and so are all addresses of the gateway's own host.

Where the client is another host and has IPv4 and IPv6, no address tells that both are the same. Such a circle is
bounded by `limits.connections_per_visitor`, as any visitor is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ferry import limits

from .sources import source_of

THIS_HOST: Final = "this host"


class Origins:
    """Tells origins apart, and remembers what a visitor's address is counted for: taking one apart costs 50 µs."""

    __slots__ = ("_source_of",)

    def __init__(self) -> None:
        self._source_of = lru_cache(limits.SOURCES_REMEMBERED)(source_of)

    def of(self, peer: str, own: str) -> str:
        """The origin of a connection from `peer` to our address `own`, both numeric and without a port.

        Who connects to an address of its own host has that same address, unless it chooses another: so no list of
        the host's addresses is needed.
        """
        if peer == own or peer.startswith("127.") or peer == "::1":
            return THIS_HOST
        return self._source_of(peer)
