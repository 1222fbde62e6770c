"""The addresses on which a port listens: by its range, by the operator's `GatewayPorts`, and by the bind address that the
client has sent (channel_fwd_bind_addr in channels.c of OpenSSH).

    GatewayPorts       no            yes           clientspecified
    -R 22080:…         loopback      all           loopback
    -R *:22080:…       loopback      all           all
    -R 0.0.0.0:22080:… loopback      all           all of IPv4
    -R 127.0.0.1:…     127.0.0.1     all           127.0.0.1
    -R 10.0.0.5:…      loopback      all           10.0.0.5

"All" are the public addresses (`tcp.public_addresses`). A port of a loopback range stays on loopback addresses, and
without `GatewayPorts` a port of a public range is on all of them whatever the client asks for.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from ferry.errors import Refusal
from ferry.protocol.forward_spec import LOOPBACK

from .base import ListenPort
from .rules import ForwardRules, GatewayPorts

_ALL: Final = frozenset({"", "*"})
_HERE: Final = frozenset({"localhost", "localhost."})
_WILD: Final = {4: "0.0.0.0", 6: "::"}


def listen_port(host: str, port: int, rules: ForwardRules, gateway_ports: GatewayPorts | None) -> ListenPort | Refusal:
    """Where `port` listens for a request with the bind address `host`, as in `ForwardRequest`."""
    if rules.on_loopback(port):
        return _loopback(host, port, "the gateway keeps this range of ports on loopback")
    match gateway_ports:
        case GatewayPorts.NO:
            return _loopback(host, port, "GatewayPorts no")
        case GatewayPorts.CLIENTSPECIFIED if host in _HERE:
            return ListenPort(port, LOOPBACK, public=False)
        case GatewayPorts.CLIENTSPECIFIED if host not in _ALL:
            return _at(ipaddress.ip_address(host), port, rules)
        case _:
            return ListenPort(port, rules.public_addresses, public=True)


def _loopback(host: str, port: int, why: str) -> ListenPort:
    if host in LOOPBACK:
        return ListenPort(port, (host,), public=False)
    wide = host not in _HERE and (host in _ALL or not ipaddress.ip_address(host).is_loopback)
    return ListenPort(port, LOOPBACK, public=False, instead=why if wide else "")


def _at(asked: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rules: ForwardRules) -> ListenPort | Refusal:
    """Where the client has written an address: there, or at those that `0.0.0.0` or `::` stands for."""
    if asked.is_loopback:
        return ListenPort(port, (str(asked),), public=False)
    public = rules.public_addresses
    of_family = tuple(each for each in public if ipaddress.ip_address(each).version == asked.version)
    wild = _WILD[asked.version]
    open_to_all = wild in public or ("::" in public and asked.version == 4)
    if asked.is_unspecified:
        hosts = (wild,) if open_to_all else of_family
    else:
        hosts = (str(asked),) if open_to_all or str(asked) in public else ()
    if not hosts:
        return Refusal(
            f"{asked} is no address for tunnels here ({', '.join(public) or 'there is none'}): write one of those, "
            f"or -R '*:{port}:...' for all",
            code="bind_address",
            detail=f"{asked} is not in tcp.public_addresses",
        )
    return ListenPort(port, hosts, public=True, ipv4_too=False)
