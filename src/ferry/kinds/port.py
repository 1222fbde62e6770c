"""`tcp`: a port of the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.names import Address, IdentityId, Kind
from ferry.protocol.forward_spec import AskedForward

from .base import ForwardRequest, ForwardShown, Opening, Telling, TunnelKind
from .derived import derived_ports
from .rules import ForwardRules, Web

_ITSELF: Final = "only programs on the gateway's own machine can connect there"
_FOR_ITSELF: Final = "for programs on the gateway's own machine"


class PortKind(TunnelKind):
    """`-R 0:...` and `-R 30042:...`."""

    __slots__ = ()

    kind = Kind.TCP

    def address(self, port: int) -> Address:
        """The address of a port."""
        return Address(self.kind, "", port)

    def parse(self, asked: AskedForward, web: Web) -> ForwardRequest | None:
        del web
        return ForwardRequest(self.kind, None, asked.port, wide=asked.wide) if asked.label is None else None

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | Refusal | None:
        if request.port:
            return self.address(request.port)
        if rules.allocate_from is None:
            return Refusal("this gateway allocates no ports: ask for a name with -R NAME:80:...", code="no_ports")
        return None

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        chosen_from = rules.allocate_from
        assert chosen_from is not None  # else the request was refused
        yield from (address for address in had if rules.range_of(address.port) == chosen_from)
        for port in derived_ports(secret, identity, chosen_from.first, chosen_from.last):
            yield self.address(port)

    def outside(self, address: Address, rules: ForwardRules) -> Refusal | None:
        port = address.port
        if rules.range_of(port) is not None:
            return None
        ranges = " and ".join(f"{one.first} to {one.last}" for one in rules.ranges) or "none"
        hint = f"-R NAME:{port}:... for a private alias, or -R NAME:80:... for a web address"
        return Refusal(
            f"port {port} is outside the ports that may be forwarded ({ranges}): ask for one of those, "
            f"-R 0:... for any, {hint}",
            code="port_outside",
        )

    def opening(self, address: Address, rules: ForwardRules) -> Opening:
        return Opening(address.port, rules.on_loopback(address.port))

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        del request, port
        return "-R 0:... -R 0:..."

    def forward_lines(self, shown: ForwardShown, told: Telling) -> list[str]:
        port = shown.address.port
        loopback = told.rules.on_loopback(port)
        where = f"localhost:{port}" if loopback else told.urls.host_port(port)
        lines = [f"Forwarding TCP traffic from {where}", f"  {reach(told, port)}"]
        if loopback and shown.asked_wide:
            lines.append("  the address that you wrote before the port is not used: these ports stay on that machine")
        return lines

    def forward_fields(self, shown: ForwardShown, told: Telling) -> dict[str, object]:
        return {"reach": reach(told, shown.address.port)}

    def help_lines(self, told: Telling) -> list[str]:
        if not told.rules.ranges:
            return []
        ranges = [(f"{one.first}-{one.last}", one.loopback or told.public_is_loopback) for one in told.rules.ranges]
        return [
            "A TCP port of the gateway:",
            f"  ssh -R 0:localhost:5432 {told.urls.gateway}           any port, the same every day",
            *(f"  {ports}: {_FOR_ITSELF if own else 'for everybody'}" for ports, own in ranges),
        ]

    def url(self, address: Address, urls: Urls) -> str:
        return urls.tcp(address.port)

    def spelled(self, address: Address, urls: Urls) -> str:
        return urls.host_port(address.port)

    def in_full(self, address: Address) -> str:
        return str(address.port)

    def short(self, text: str) -> str:
        return text.removeprefix("port ")


TCP: Final = PortKind()


def reach(told: Telling, port: int) -> str:
    """Who can reach a TCP port."""
    if told.rules.on_loopback(port):
        return _ITSELF
    if told.public_is_loopback:
        return f"{_ITSELF}; its operator may open it to the network (tcp.public_addresses)"
    return "anybody who can reach the gateway can connect there"
