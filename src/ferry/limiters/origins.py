"""The origin of a connection as one text, by which a port tells visitors that come from its own client's host.

A port whose target is a port of this gateway sends its visitors in again and again. They come from the tunnel's client,
by an address that depends on how the target is written: `127.0.0.1`, `[::1]` or the host's name. So all addresses of one
source are one origin, and so are all addresses of the gateway's own host.

If the client is another host with IPv4 and IPv6, its addresses do not show that they are the same host.
`limits.connections_per_visitor` bounds such a circle, as it bounds any visitor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ferry import limits

from .sources import source_of

THIS_HOST: Final = "this host"


class Origins:
    """Finds origins, and caches the source of each address: parsing an address costs 50 µs."""

    __slots__ = ("_source_of",)

    def __init__(self) -> None:
        self._source_of = lru_cache(limits.SOURCES_REMEMBERED)(source_of)

    def of(self, peer: str, own: str) -> str:
        """The origin of a connection from `peer` to our address `own`, both numeric and without a port.

        A connection to an address of its own host comes from that same address, unless it binds another. So no list of
        the host's addresses is needed.
        """
        if peer == own or peer.startswith("127.") or peer == "::1":
            return THIS_HOST
        return self._source_of(peer)
