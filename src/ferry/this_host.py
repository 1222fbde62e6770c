"""What this host's tables and its time zone say, for the options of key lines (`protocol.key_options.System`), and which
addresses are its own."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final


class ThisHost:
    """The tables and the time zone of this host."""

    def port_of(self, service: str) -> int | None:
        """The TCP port of a service in /etc/services."""
        try:
            return socket.getservbyname(service, "tcp")
        except (OSError, ValueError):
            return None

    def local_time(self, year: int, month: int, day: int, hour: int, minute: int, second: int) -> float:
        """As sshd: without summer time, for it leaves `tm_isdst` at 0."""
        return time.mktime((year, month, day, hour, minute, second, 0, 0, 0))


THIS_HOST: Final = ThisHost()


def is_own_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of this host's, on whatever interface. A connection to it never leaves the host, so no
    firewall of the network stands before it.

    The system chooses the source of a connection to such an address: the address itself. Nothing is sent.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            source = str(probe.getsockname()[0])
    except OSError:
        return False  # no route leads there
    return ip_address(source.partition("%")[0]) == address
