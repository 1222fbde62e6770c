"""What people read in their terminal: plain functions from values to text. docs/reference/session.md shows them.

The line `Forwarding HTTP traffic from URL` is parsed by other people's scripts: it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferry.hostnames import Urls
from ferry.names import Address, Identity, Kind, printable
from ferry.protocol.words import COMMANDS
from ferry.registry.contract import Reservation
from ferry.visits import Visit

from .services import Services

if TYPE_CHECKING:
    from .refusals import RefusedForward
    from .tunnel import SshTunnel


_ITSELF = "only programs on the gateway's own machine can connect there"
_FOR_ITSELF = "for programs on the gateway's own machine"
CA_NOTE = "  https uses this gateway's own CA: `ferry ca` on the gateway says how to trust it"


def banner_for(hostnames: Sequence[str], urls: Urls) -> str:
    """The login banner: which web addresses are yours."""
    shown = [urls.best(host) for host in hostnames[:5]]
    more = f" and {len(hostnames) - 5} more" if len(hostnames) > 5 else ""
    return f"ferry: your web address{'es' if len(hostnames) > 1 else ''}: {', '.join(shown)}{more}\r\n"


def first_banner_for(hostname: str, urls: Urls) -> str:
    """The login banner of somebody new."""
    return f"ferry: -R 80:... gives you {urls.best(hostname)}\r\n"


def forward_lines(tunnel: SshTunnel, services: Services) -> list[str]:
    """What the owner of a new forward is told; the first line is the one that tools parse."""
    urls, address = services.urls, tunnel.address
    match address.kind:
        case Kind.HTTP | Kind.TLS:
            return _web_lines(tunnel, urls)
        case Kind.TCP:
            span = services.rules.span_of(address.port)
            loopback = span is None or span.loopback
            where = f"localhost:{address.port}" if loopback else urls.host_port(address.port)
            lines = [f"Forwarding TCP traffic from {where}", f"  {reach(services, address.port)}"]
            if loopback and tunnel.asked_wide:
                lines.append(
                    "  the address that you wrote before the port is not used: these ports stay on that machine"
                )
            return lines
        case Kind.ALIAS:
            lines = [f"Forwarding private alias {address}", "  only your own keys reach it, through this gateway:"]
            if address.port == 22:
                lines.append(f"  ssh -J {urls.jump} you@{address.name}")
            else:
                lines.append(f"  ssh -N -L {address.port}:{address} {urls.gateway}")
            return lines


def _web_lines(tunnel: SshTunnel, urls: Urls) -> list[str]:
    host = tunnel.address.name
    plain, secure = urls.http(host), urls.https(host)
    if secure and urls.trusted(host):
        lines = [f"Forwarding HTTP traffic from {secure}"]
    else:
        lines = [f"Forwarding HTTP traffic from {plain}"] if plain else []
        if secure:
            lines += [f"Forwarding HTTP traffic from {secure}", CA_NOTE]
    if tunnel.tls_upstream:
        lines.append("  your local service is spoken to in TLS; its certificate is not checked")
    if tunnel.client.identity.anonymous:
        kept = "stays yours only while you are connected" if tunnel.requested else "is new each time"
        lines.append(f"  you came without a key: the name {kept}")
    elif not tunnel.requested:
        lines.append(f"  the name stays yours; for another: ssh -R NAME:{tunnel.bind[1]}:... {urls.gateway}")
    return lines


def reach(services: Services, port: int) -> str:
    """Who can reach a TCP port."""
    span = services.rules.span_of(port)
    if span is None or span.loopback:
        return _ITSELF
    if services.public_is_loopback:
        return f"{_ITSELF}; its operator may open it to the network (tcp.public_addresses)"
    return "anybody who can reach the gateway can connect there"


def address_text(address: Address, urls: Urls) -> str:
    """An address for programs, spelled the same in every object: a hostname, `HOST:PORT`, or `ALIAS:PORT`."""
    return urls.host_port(address.port) if address.kind is Kind.TCP else str(address)


def forward_json(tunnel: SshTunnel, services: Services) -> dict[str, object]:
    """A new forward as one object: `address` and `message` as localhost.run spells them."""
    urls, address = services.urls, tunnel.address
    out: dict[str, object] = {
        "event": "forward",
        "status": "success",
        "kind": address.kind.value,
        "address": address_text(address, urls),
        "tunnel": tunnel.id,
        "message": forward_lines(tunnel, services)[0],
    }
    if address.kind is Kind.HTTP:
        plain, secure = urls.http(address.name), urls.https(address.name)
        out |= {"url": urls.best(address.name), "urls": [url for url in (plain, secure) if url]}
    if address.port:
        out["port"] = address.port
    if address.kind is Kind.TCP:
        out["reach"] = reach(services, address.port)
    return out


def refusal_line(refused: RefusedForward) -> str:
    """One refused forward."""
    return f"Refused {refused.asked}: {refused.why}"


def visit_line(visit: Visit) -> str:
    """One finished request or connection."""
    took = f"{visit.seconds * 1000:.0f}ms" if visit.seconds < 10 else f"{visit.seconds:.0f}s"
    note = f"  {visit.note}" if visit.note else ""
    if visit.method:
        status = visit.status or "-"
        return f"{printable(visit.method, 20)} {printable(visit.target, 120)} {status} {took} {visit.peer.host}{note}"
    return f"{printable(visit.target, 120)} {visit.peer} {took} {size(visit.up)} in, {size(visit.down)} out{note}"


def size(count: int) -> str:
    """Bytes for people: `13 B`, `4.2 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")


def help_lines(services: Services) -> list[str]:
    """`ssh gw help`."""
    gw = services.urls.gateway
    spans = [(f"{s.first}-{s.last}", s.loopback or services.public_is_loopback) for s in services.rules.spans]
    lines = [
        "A web address for a local service:",
        f"  ssh -R 80:localhost:3000 {gw}          a name of your own, the same every day",
        f"  ssh -R blog:80:localhost:3000 {gw}     {services.urls.domain.host('blog')}",
        f"  ssh -R 443:localhost:8443 {gw}         the local service speaks TLS",
    ]
    if spans:
        lines += [
            "A TCP port of the gateway:",
            f"  ssh -R 0:localhost:5432 {gw}           any port, the same every day",
            *(f"  {ports}: {_FOR_ITSELF if own else 'for everybody'}" for ports, own in spans),
        ]
    lines += [
        "A private machine, reached by your own keys only:",
        f"  ssh -R laptop:22:localhost:22 {gw}     then: ssh -J {services.urls.jump} you@laptop",
        "Several -R in one command work. Words after the host:",
    ]
    lines += [f"  {word:<10} {meaning}" for word, meaning in COMMANDS.items()]
    lines.append("  -- --output json   every line is one JSON object (plink, dbclient: output=json)")
    return lines


def who_line(identity: Identity) -> str:
    """`ssh gw whoami`."""
    if identity.anonymous:
        return "anonymous: you came without a key, so no name can be kept for you"
    return f"{identity.name} with key {identity.fingerprint}" if identity.name else f"key {identity.fingerprint}"


def reservation_line(reservation: Reservation, keep: float, *, up: bool) -> str:
    """One name of yours."""
    if up:
        state = "in use now"
    else:
        until = datetime.fromtimestamp(reservation.last_used + keep, UTC)
        state = f"kept until {until:%Y-%m-%d}"
    return f"{reservation.address!s:<40} {state}"


def tunnel_line(tunnel: SshTunnel, services: Services) -> str:
    """One tunnel that is up."""
    address = tunnel.address
    where = services.urls.best(address.name) if address.kind is Kind.HTTP else str(address)
    traffic = tunnel.traffic
    visits = "1 visit" if traffic.visits == 1 else f"{traffic.visits} visits"
    return f"{where:<44} {visits}, {size(traffic.up)} in, {size(traffic.down)} out"


def tunnel_json(tunnel: SshTunnel, services: Services) -> dict[str, object]:
    """One tunnel that is up, as an object."""
    traffic = tunnel.traffic
    return forward_json(tunnel, services) | {
        "event": "tunnel",
        "visits": traffic.visits,
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
    }
