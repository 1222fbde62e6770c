"""What this host's tables and its time zone say, for the options of key lines (`protocol.key_options.System`)."""

from __future__ import annotations

import socket
import time
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
