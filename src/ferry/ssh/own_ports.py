"""A client's way back to a port that it holds itself: `ssh -L 20000:127.0.0.1:20000 -R 20000:127.0.0.1:20001`.

autossh (`-M 20000`) looks through such a loop whether its connection still carries data. So a `direct-tcpip` open
(RFC 4254 §7.2) for a loopback address reaches a TCP port that this very connection holds, and no other port: the bytes
go from channel to channel, and no socket is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ferry import limits
from ferry.errors import Refusal
from ferry.kinds.port import TCP

if TYPE_CHECKING:
    from .tunnel import SshTunnel

_LOOPBACK: Final = frozenset({b"localhost", b"127.0.0.1", b"::1"})


def own_port(tunnels: Iterable[SshTunnel], host: bytes, port: int) -> SshTunnel | Refusal | None:
    """The tunnel among `tunnels` that `host` and `port` mean; a refusal when too many such streams are open: a port
    whose local target is its own way back would go round until the connection had no channel left."""
    if host.lower() not in _LOOPBACK:
        return None
    for tunnel in tunnels:
        if tunnel.address == TCP.address(port):
            if tunnel.streams >= limits.OWN_PORT_STREAMS:
                return Refusal(
                    f"port {port} serves {tunnel.streams} connections already: the way back to a port of your own "
                    f"needs fewer than {limits.OWN_PORT_STREAMS}",
                    code="own_port",
                )
            return tunnel
    return None
