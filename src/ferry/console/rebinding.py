"""Restricts loopback listeners to requests for loopback names.

A page in the operator's browser can point a name of its own at 127.0.0.1 (DNS rebinding) and would then read
`/metrics` as its own origin. Its requests carry that name in `Host`; ours carry an address or `localhost`.
"""

from __future__ import annotations

import ipaddress

from starlette.types import ASGIApp, Receive, Scope, Send

from .answers import problem


class LoopbackHost:
    """ASGI middleware of an HTTP server: anything but a loopback `Host` gets 403."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) == 1 and is_loopback_authority(hosts[0]):
            await self._app(scope, receive, send)
            return
        answer = problem(403, "this address answers to loopback names only", "ask for http://127.0.0.1:PORT/…")
        await answer(scope, receive, send)


def is_loopback_authority(authority: str) -> bool:
    """Whether a Host field value (RFC 9110 §7.2) is `localhost` or a loopback address, with or without a port."""
    host, _, port = authority.rpartition(":")
    if not port.isdecimal():
        host = authority  # without a port; `[::1]` ends in a bracket
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
