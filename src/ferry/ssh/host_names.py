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

from ferry import limits


class HostNames:
    """The look-ups of one gateway: HOST_NAME_LOOKUPS at once, of HOST_NAME_SECONDS at most. Each runs in a thread that
    no stop of the gateway waits for: the system's resolver cannot be interrupted."""

    def __init__(self) -> None:
        self._running = 0

    async def name_of(self, address: str) -> str:
        """The name of the host with a numeric address; the address itself if it has none, or if the look-up takes too
        long."""
        if self._running >= limits.HOST_NAME_LOOKUPS:
            return address
        self._running += 1
        loop = asyncio.get_running_loop()
        found: asyncio.Future[str] = loop.create_future()

        def tell(name: str) -> None:
            self._running -= 1
            if not found.done():
                found.set_result(name)

        def look_up() -> None:
            name = _name_of(address)
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(tell, name)

        threading.Thread(target=look_up, name=f"name of {address}", daemon=True).start()
        try:
            async with asyncio.timeout(limits.HOST_NAME_SECONDS):
                return await found
        except TimeoutError:
            return address


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
