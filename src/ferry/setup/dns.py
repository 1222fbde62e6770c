"""Checks that the names of the gateway resolve to this host."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ferry.hostnames import Domain

from .findings import Finding, Severity

LOCALHOST: Final = Domain("localhost")
Resolver = Callable[[str], list[str]]
# Documentation addresses (RFC 5737, RFC 3849): a UDP socket "connected" to one sends nothing, and shows the address
# that this host would send from.
FAR_AWAY: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def resolve(name: str) -> list[str]:
    """The numeric addresses of `name` from this host's resolver; empty if there are none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def own_addresses() -> list[str]:
    """The addresses this host sends from: at most one of IPv4 and one of IPv6."""
    found = []
    for family, far in FAR_AWAY:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                address = str(probe.getsockname()[0])
        except OSError:
            continue
        if not ipaddress.ip_address(address).is_loopback:
            found.append(address)
    return found


def is_local(address: str) -> bool:
    """Whether this host has `address` on one of its interfaces, so that a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Host:
    """The facts about this host that the DNS checks use."""

    own: list[str]
    is_local: Callable[[str], bool]
    resolve: Resolver

    @property
    def behind_nat(self) -> bool:
        """Whether all its addresses are private, so that the public one belongs to a router in front of it."""
        return bool(self.own) and not any(ipaddress.ip_address(address).is_global for address in self.own)


def this_host() -> Host:
    """The host that runs this process."""
    return Host(own_addresses(), is_local, resolve)


def check_domain(domain: str, label: str, host: Host, *, port: int | None, web: bool = True) -> list[Finding]:
    """Compare the addresses of `domain` with this host's, and those of `label.domain` where visitors come by HTTP or HTTPS
    (`web`). `label` is random, so that only a wildcard record can answer for it. `port`: that of HTTP."""
    below = Domain(domain)
    if LOCALHOST.has(domain):
        return [_check_localhost(below, label, host, port=port)] if web else []
    found = [_check_name(domain, domain, host)]
    return [*found, _check_name(below.host(label), below.wildcard, host)] if web else found


def _check_localhost(domain: Domain, label: str, host: Host, *, port: int | None) -> Finding:
    name = domain.host("NAME")
    if host.resolve(domain.host(label)):
        return Finding(Severity.OK, "dns", f"{name} resolves here")
    example = f"curl --resolve {name}:{port}:127.0.0.1 http://{name}:{port}/" if port else ""
    return Finding(
        Severity.NOTE,
        "dns",
        f"{name} does not resolve with this host's resolver. Browsers and curl 7.85 or newer find it; "
        + (f"an older curl needs\n`{example}`" if example else "other programs need an entry in /etc/hosts"),
    )


def _check_name(name: str, shown: str, host: Host) -> Finding:
    found = host.resolve(name)
    if not found:
        return Finding(Severity.FIX, "dns", f"{shown} does not resolve: make\n{records(shown, host)}")
    elsewhere = [address for address in found if not host.is_local(address)]
    if not elsewhere:
        return Finding(Severity.OK, "dns", f"{shown} is this host ({', '.join(found)})")
    text = f"{shown} is {', '.join(elsewhere)}, and this host is {', '.join(host.own) or 'without a network address'}"
    if host.behind_nat and len(elsewhere) == len(found):
        return Finding(Severity.NOTE, "dns", f"{text}: right if that address is mapped to this host")
    return Finding(Severity.FIX, "dns", f"{text}: make\n{records(shown, host)}")


def records(name: str, host: Host) -> str:
    """The DNS records to make, one a line, in the form of a zone file."""
    if host.behind_nat or not host.own:
        return f"{name}. A THE-PUBLIC-ADDRESS-OF-THIS-HOST"
    return "\n".join(f"{name}. {'AAAA' if ':' in address else 'A'} {address}" for address in host.own)
