"""The texts of sessions and banners, and their JSON forms. docs/reference/session.md shows them.

Do not change the line `Forwarding HTTP traffic from URL`: scripts parse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Protocol

from ferry import kinds
from ferry.amounts import number, size
from ferry.hostnames import Urls
from ferry.kinds import kind_of
from ferry.kinds.base import ForwardShown
from ferry.kinds.rules import ForwardRules
from ferry.names import Address, Identity, TunnelId
from ferry.policy.allowance import Allowance
from ferry.protocol.words import COMMANDS
from ferry.registry.contract import Reservation, StoreUnavailable
from ferry.registry.rules import kept_until
from ferry.visits import Traffic, Visit

from .refusals import RefusedForward

_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "output=json": "every line is one JSON object",
        "host-header=localhost": "your web service gets this Host (Vite, Django, others)",
        "query=full": "lines about visitors show the values in queries",
        "color=never": "plain text in a terminal",
    }
)


class TunnelShown(ForwardShown, Protocol):
    """A tunnel, as notices show it."""

    @property
    def id(self) -> TunnelId: ...
    @property
    def traffic(self) -> Traffic: ...
    @property
    def closed(self) -> bool: ...
    @property
    def silent_for(self) -> float: ...
    @property
    def taken_from(self) -> str: ...
    @property
    def instead(self) -> str: ...


class NoticesInForce(Protocol):
    """The notices in force. A reload replaces them."""

    @property
    def notices(self) -> Notices: ...


@dataclass(frozen=True, slots=True)
class Notices:
    """The notices that depend on the configuration. It implements `kinds.base.NoticeContext` for the kinds."""

    urls: Urls
    rules: ForwardRules
    public_is_loopback: bool
    """Ports of public ranges listen on loopback addresses only."""

    # --- the login banner

    def refused_banner(self, refused: RefusedForward) -> str:
        """The banner about a refusal that nobody has seen."""
        return f"ferry: refused before: {refused.asked}: {refused.why}\r\n"

    def names_banner(self, count: int, most: int) -> str:
        """The banner for an identity whose names will soon be used up."""
        return f"ferry: {count} of your {most} names are taken: ssh {self.urls.gateway} names lists them\r\n"

    # --- a forward, and its visits

    def forward_lines(self, forward: TunnelShown, *, alone: bool = False) -> list[str]:
        """The notice of a new forward, which is `alone` if its command asks for no other. Tools parse its first
        line."""
        kind = kind_of(forward.address.kind)
        lines = kind.forward_lines(forward, self)
        if forward.host_header:
            lines.append(kind.host_line(forward.host_header.decode()))
        if alone:
            lines += kind.lone_lines(forward, self)
        if forward.taken_from:
            lines.append(f"  {forward.taken_from}")
        return lines

    def forward_fields(self, tunnel: TunnelShown) -> dict[str, object]:
        """A new forward as an object. Its keys `address` and `message` are those of localhost.run."""
        address = tunnel.address
        kind = kind_of(address.kind)
        out: dict[str, object] = {
            "event": "forward",
            "status": "success",
            "kind": address.kind.value,
            "address": kind.for_programs(address, self.urls),
            "tunnel": tunnel.id,
            "message": kind.forward_lines(tunnel, self)[0],
        }
        if tunnel.instead:
            out["instead"] = tunnel.instead
        if tunnel.taken_from:
            out["taken_from"] = tunnel.taken_from
        if address.port:
            out["port"] = address.port
        return out | kind.forward_fields(tunnel, self)

    def visit_fields(self, address: Address, visit: Visit) -> dict[str, object]:
        """One finished request or connection to `address`, as an object."""
        return {
            "event": "visit",
            "address": kind_of(address.kind).for_programs(address, self.urls),
            "method": visit.method,
            "target": visit.target,
            "status": visit.status,
            "seconds": round(visit.seconds, 6),
            "visitor": str(visit.peer),
            "bytes_up": visit.up,
            "bytes_down": visit.down,
            "note": visit.note,
        }

    # --- answers to commands

    def help_lines(self) -> list[str]:
        """`ssh gw help`."""
        lines = [line for kind in kinds.KINDS.values() for line in kind.help_lines(self)]
        lines += ["Several -R in one command work. Words after the host:"]
        lines += [f"  {word:<22} {meaning}" for word, meaning in {**COMMANDS, **_OPTIONS}.items()]
        return lines

    def example(self, may: Allowance) -> str | None:
        """A command with a forward, of the first kind that this gateway serves, or one that somebody may have. None if they
        may have none."""
        examples = (kind.example(self.rules) for kind in kinds.KINDS.values())
        forward = may.example(next(filter(None, examples)))
        return None if forward is None else f"ssh -R {forward} {self.urls.gateway}"

    def reservation_line(self, reservation: Reservation, *, up: bool) -> str:
        """One reserved name."""
        if up:
            state = "in use now"
        elif reservation.label is not None:
            state = "kept for good"
        else:
            until = datetime.fromtimestamp(kept_until(reservation, keep=self.rules.keep), UTC)
            state = f"kept until {until:%Y-%m-%d}" if reservation.used else f"unused: kept until {until:%H:%M} UTC"
        return f"{reservation.address!s:<40} {state}"

    def reservation_fields(self, reservation: Reservation, *, up: bool) -> dict[str, object]:
        """One reserved name, as an object."""
        address, lasting = reservation.address, reservation.label is not None
        return {
            "event": "name",
            "address": kind_of(address.kind).for_programs(address, self.urls),
            "kind": address.kind.value,
            "up": up,
            "used": reservation.used,
            "kept_until": None if up or lasting else kept_until(reservation, keep=self.rules.keep),
            "kept_for_good": lasting,
        }

    def tunnel_line(self, tunnel: TunnelShown) -> str:
        """One tunnel that is up."""
        address = tunnel.address
        where = kind_of(address.kind).for_people(address, self.urls)
        traffic = tunnel.traffic
        visits = number(traffic.visits, kind_of(address.kind).visit_word)
        silent = f", silent {tunnel.silent_for:.0f}s" if tunnel.silent_for else ""
        instead = f" ({tunnel.instead})" if tunnel.instead else ""
        return f"{where:<44} {visits}, {size(traffic.up)} in, {size(traffic.down)} out{silent}{instead}"

    def tunnel_fields(self, tunnel: TunnelShown) -> dict[str, object]:
        """One tunnel that is up, as an object."""
        traffic = tunnel.traffic
        return self.forward_fields(tunnel) | {
            "event": "tunnel",
            "visits": traffic.visits,
            "bytes_up": traffic.up,
            "bytes_down": traffic.down,
            "silent_seconds": round(tunnel.silent_for),
        }


def refusal_line(refused: RefusedForward) -> str:
    """One refused forward."""
    return f"Refused {refused.asked}: {refused.why}"


def store_down(error: StoreUnavailable) -> str:
    """The refusal of a request that needs the database."""
    return f"{error.public}: tunnels that are up stay up, new ones must wait; try again in a minute"


def who_line(identity: Identity) -> str:
    """`ssh gw whoami`."""
    if identity.anonymous:
        return "anonymous: you came without a key, so no name can be kept for you"
    if identity.certificate is not None:
        return f"{identity.certificate} with key {identity.fingerprint}"
    return f"{identity.name} with key {identity.fingerprint}" if identity.name else f"key {identity.fingerprint}"
