"""Looks up the addresses of hosts, for connections from the gateway to them.

The system's resolver blocks, and cannot be interrupted: each look-up has a thread, which no stop of the gateway waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from ferry import limits
from ferry.errors import Refusal
from ferry.protocol.targets import IpAddress

Resolve = Callable[[str], Sequence[str]]
"""The numeric addresses of a name, the best ones first (RFC 6724). Blocks. Raises OSError or UnicodeError."""


def resolve(name: str) -> Sequence[str]:
    """By the system's resolver."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class HostLookups:
    """The look-ups of one gateway: OUTBOUND_LOOKUPS at once, and OUTBOUND_LOOKUPS_PER_IDENTITY. Nothing is kept of them:
    each open decides on addresses that were looked up for it."""

    def __init__(self, by: Resolve = resolve) -> None:
        self._resolve = by
        self._running: Counter[str] = Counter()
        """The look-ups of each identity."""

    async def addresses_of(self, name: str, identity: str) -> list[IpAddress] | Refusal:
        """The addresses of a name, in the order in which to try them, OUTBOUND_ADDRESSES at most."""
        if (
            self._running.total() >= limits.OUTBOUND_LOOKUPS
            or self._running[identity] >= limits.OUTBOUND_LOOKUPS_PER_IDENTITY
        ):
            return Refusal("too many names are being looked up: try again", code="too_many_lookups")
        try:
            async with asyncio.timeout(limits.OUTBOUND_LOOKUP_SECONDS):
                found = await self._begin(name, identity)
        except TimeoutError:
            return Refusal(
                f"the look-up of the host's name takes more than {limits.OUTBOUND_LOOKUP_SECONDS:.0f} s",
                code="host_unknown",
            )
        if isinstance(found, Exception):
            return Refusal("the gateway knows no host of that name", code="host_unknown", detail=f"{name}: {found}")
        return in_turn(found)

    def _begin(self, name: str, identity: str) -> asyncio.Future[Sequence[str] | Exception]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str] | Exception] = loop.create_future()
        self._running[identity] += 1

        def tell(result: Sequence[str] | Exception) -> None:
            self._running[identity] -= 1
            if not self._running[identity]:
                del self._running[identity]
            if not found.done():
                found.set_result(result)

        def look_up() -> None:
            try:
                result: Sequence[str] | Exception = self._resolve(name)
            except (OSError, UnicodeError) as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(tell, result)

        threading.Thread(target=look_up, name=f"addresses of {name}", daemon=True).start()
        return found


def in_turn(found: Sequence[str]) -> list[IpAddress]:
    """Addresses in the order in which to try them: the families take turns, and that of the best address begins (RFC 8305
    §4). An address with a zone is left out: it is link-local."""
    addresses = [ip_address(text) for text in dict.fromkeys(found) if "%" not in text]
    first = [address for address in addresses if address.version == addresses[0].version]
    others = [address for address in addresses if address.version != addresses[0].version]
    pairs = itertools.zip_longest(first, others)
    return [address for pair in pairs for address in pair if address is not None][: limits.OUTBOUND_ADDRESSES]
