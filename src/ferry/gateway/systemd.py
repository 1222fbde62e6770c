"""Notifies systemd: sd_notify(3) without libsystemd. Without systemd it does nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

USEC = 1_000_000


def notify(state: str, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (`READY=1`, `STOPPING=1`, `RELOADING=1`, `WATCHDOG=1`, `STATUS=…`, several by newline).

    True if it was sent. Never blocks and never raises: a supervisor that is gone must not stop the gateway.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # the abstract namespace, which the kernel marks by a leading NUL
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def watchdog_seconds(*, environ: Mapping[str, str] = os.environ) -> float | None:
    """The longest time that systemd waits for `WATCHDOG=1`; None if it does not wait. Send it at half of this.

    Children inherit the variables: `WATCHDOG_PID` names the process that they are meant for.
    """
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / USEC if text.isdecimal() and int(text) else None
