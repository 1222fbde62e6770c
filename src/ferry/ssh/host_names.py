"""Looks up the names of clients' hosts for `from=`, as sshd does with `UseDNS yes`.

Whoever has an address also has its reverse zone, and can write any name into it. So a name counts only if it leads back to
the address.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter, OrderedDict

from ferry import limits
from ferry.names import network_of


class HostNames:
    """The look-ups of one gateway: HOST_NAME_LOOKUPS at once, HOST_NAME_LOOKUPS_PER_NETWORK for one network, and one for an
    address. A log-in waits HOST_NAME_SECONDS at most. Each runs in a thread that no stop of the gateway waits for: the
    system's resolver cannot be interrupted."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Future[str]] = {}
        """By address."""
        self._networks: Counter[str] = Counter()
        """The look-ups of each network."""
        self._found: OrderedDict[str, str] = OrderedDict()
        """The names of the last HOST_NAME_KEEP_SECONDS, by address."""

    async def name_of(self, address: str) -> str | None:
        """The name of the host with a numeric address; the address itself if it has none, or if the look-up takes too
        long. None if there are too many look-ups now: the client may try again."""
        if (known := self._found.get(address)) is not None:
            return known
        if (found := self._running.get(address)) is None:
            network = network_of(address)
            if (
                len(self._running) >= limits.HOST_NAME_LOOKUPS
                or self._networks[network] >= limits.HOST_NAME_LOOKUPS_PER_NETWORK
            ):
                return None
            found = self._begin(address, network)
        try:
            async with asyncio.timeout(limits.HOST_NAME_SECONDS):
                return await asyncio.shield(found)
        except TimeoutError:
            return address

    def _begin(self, address: str, network: str) -> asyncio.Future[str]:
        loop = asyncio.get_running_loop()
        found: asyncio.Future[str] = loop.create_future()
        self._running[address] = found
        self._networks[network] += 1

        def tell(name: str) -> None:
            del self._running[address]
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]
            self._found[address] = name
            if len(self._found) > limits.HOST_NAMES:
                self._found.popitem(last=False)
            loop.call_later(limits.HOST_NAME_KEEP_SECONDS, self._found.pop, address, None)
            if not found.done():
                found.set_result(name)

        def look_up() -> None:
            name = _name_of(address)
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(tell, name)

        threading.Thread(target=look_up, name=f"name of {address}", daemon=True).start()
        return found


def _name_of(address: str) -> str:
    """Blocks."""
    try:
        name = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0].lower()
        if _is_numeric(name):
            return address
        leads_to = {entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return address
    return name if address in leads_to else address


def _is_numeric(name: str) -> bool:
    """Whether a name passes for an address, which could match an entry of `from=` that means one."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
