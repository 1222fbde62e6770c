"""What people read in their terminal: plain functions from values to text. docs/reference/session.md shows them.

The line `Forwarding HTTP traffic from URL` is parsed by other people's scripts: it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from ferry import kinds
from ferry.hostnames import Urls
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardShown, NoticeContext
from ferry.names import Identity, TunnelId, printable
from ferry.protocol.words import COMMANDS
from ferry.registry.contract import Reservation
from ferry.visits import Traffic, Visit

from .refusals import RefusedForward


class TunnelShown(ForwardShown, Protocol):
    """A tunnel, as its owner is told of it."""

    @property
    def id(self) -> TunnelId: ...
    @property
    def traffic(self) -> Traffic: ...


def banner_for(hostnames: Sequence[str], urls: Urls) -> str:
    """The login banner: which web addresses are yours."""
    shown = [urls.best(host) for host in hostnames[:5]]
    more = f" and {len(hostnames) - 5} more" if len(hostnames) > 5 else ""
    return f"ferry: your web address{'es' if len(hostnames) > 1 else ''}: {', '.join(shown)}{more}\r\n"


def first_banner_for(hostname: str, urls: Urls) -> str:
    """The login banner of somebody new."""
    return f"ferry: -R 80:... gives you {urls.best(hostname)}\r\n"


def forward_lines(shown: ForwardShown, told: NoticeContext) -> list[str]:
    """What the owner of a new forward is told; the first line is the one that tools parse."""
    return kind_of(shown.address.kind).forward_lines(shown, told)


def forward_json(tunnel: TunnelShown, told: NoticeContext) -> dict[str, object]:
    """A new forward as one object: `address` and `message` as localhost.run spells them."""
    address = tunnel.address
    kind = kind_of(address.kind)
    out: dict[str, object] = {
        "event": "forward",
        "status": "success",
        "kind": address.kind.value,
        "address": kind.spelled(address, told.urls),
        "tunnel": tunnel.id,
        "message": kind.forward_lines(tunnel, told)[0],
    }
    if address.port:
        out["port"] = address.port
    return out | kind.forward_fields(tunnel, told)


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


def help_lines(told: NoticeContext) -> list[str]:
    """`ssh gw help`."""
    lines = [line for kind in kinds.KINDS.values() for line in kind.help_lines(told)]
    lines += ["Several -R in one command work. Words after the host:"]
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


def tunnel_line(tunnel: TunnelShown, told: NoticeContext) -> str:
    """One tunnel that is up."""
    address = tunnel.address
    where = kind_of(address.kind).where(address, told.urls)
    traffic = tunnel.traffic
    visits = "1 visit" if traffic.visits == 1 else f"{traffic.visits} visits"
    return f"{where:<44} {visits}, {size(traffic.up)} in, {size(traffic.down)} out"


def tunnel_json(tunnel: TunnelShown, told: NoticeContext) -> dict[str, object]:
    """One tunnel that is up, as an object."""
    traffic = tunnel.traffic
    return forward_json(tunnel, told) | {
        "event": "tunnel",
        "visits": traffic.visits,
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
    }
