"""`tcp`: a port of the gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.names import Address, Endpoint, IdentityId, Kind
from ferry.protocol.forward_spec import BindRequest

from .base import (
    NEW_EACH_TIME,
    WHILE_CONNECTED,
    ForwardRequest,
    ForwardShown,
    Listening,
    ListenPort,
    NoticeContext,
    TunnelKind,
)
from .derived import derived_ports
from .port_hosts import listen_port
from .rules import ForwardRules, Web

_ITSELF: Final = "only programs on the gateway's own machine can connect there"
_FOR_ITSELF: Final = "for programs on the gateway's own machine"


class PortKind(TunnelKind):
    """`-R 0:...` and `-R 30042:...`."""

    __slots__ = ()

    kind = Kind.TCP
    in_rules = "ports"
    is_port = True

    def address(self, port: int) -> Address:
        """The address of a port."""
        return Address(self.kind, "", port)

    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        del web
        if bind.label is not None:
            return None
        return ForwardRequest(self.kind, None, bind.port, host=bind.host)

    def form(self, label: str, rules: ForwardRules) -> str | None:
        del label
        return "-R 0:... for a port" if rules.allocate_from is not None else None

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address | Refusal | None:
        if request.port:
            return self.address(request.port)
        if rules.allocate_from is None:
            port = 80 if rules.serves_web else 22
            return Refusal(f"this gateway allocates no ports: ask for a name with -R NAME:{port}:...", code="no_ports")
        return None

    def candidate_addresses(
        self, identity: IdentityId, secret: bytes, rules: ForwardRules, had: Sequence[Address]
    ) -> Iterator[Address]:
        chosen_from = rules.allocate_from
        assert chosen_from is not None  # else the request was refused
        yield from (address for address in had if rules.range_of(address.port) == chosen_from)
        for port in derived_ports(secret, identity, chosen_from.first, chosen_from.last):
            yield self.address(port)

    def refuse_address(self, address: Address, rules: ForwardRules) -> Refusal | None:
        port = address.port
        if rules.range_of(port) is not None:
            return None
        ranges = " and ".join(f"{one.first} to {one.last}" for one in rules.ranges) or "none"
        ways = ["one of those"]
        if rules.allocate_from is not None:
            ways.append("-R 0:... for any")
        ways.append(f"-R NAME:{port}:... for a private alias")
        first = "ask for "
        if rules.serves_web and port > 1023:  # as other services are asked: -R 3000:localhost:3000
            first = "write -R 80:localhost:PORT for a web address of your local service at PORT, or ask for "
        elif rules.serves_web:
            ways.append("-R NAME:80:... for a web address")
        return Refusal(
            f"port {port} is outside the ports that may be forwarded ({ranges}): {first}{', '.join(ways[:-1])}, or "
            f"{ways[-1]}",
            code="port_outside",
        )

    def opening(
        self, address: Address, request: ForwardRequest, rules: ForwardRules, how: Listening
    ) -> ListenPort | Refusal:
        return listen_port(request.host, address.port, rules, how.gateway_ports)

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        del request, port
        return "-R 0:... -R 0:..."

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        port = shown.address.port
        where = context.urls.host_port(port) if _is_public(shown) else _local(shown.port, port)
        lines = [f"Forwarding TCP traffic from {where}", *(f"  {part}" for part in _reach(shown, context))]
        if shown.port is not None and shown.port.instead:
            lines.append(f"  the gateway ignores the address that you wrote before the port: {shown.port.instead}")
        if shown.anonymous:
            kept = NEW_EACH_TIME if shown.derived else WHILE_CONNECTED
            lines.append(f"  you came without a key: the port {kept}")
        return lines

    def lone_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        if not shown.derived or not context.rules.serves_web:
            return []
        return [f"  for a web address instead: ssh -R 80:... {context.urls.gateway}"]  # elsewhere -R 0 is one

    def forward_fields(self, shown: ForwardShown, context: NoticeContext) -> dict[str, object]:
        return {"reach": "; ".join(_reach(shown, context))}

    def example(self, rules: ForwardRules) -> str | None:
        return "0:localhost:5432" if rules.allocate_from is not None else None

    def help_lines(self, context: NoticeContext) -> list[str]:
        if not context.rules.ranges:
            return []
        ranges = [
            (f"{one.first}-{one.last}", one.loopback or context.public_is_loopback) for one in context.rules.ranges
        ]
        return [
            "A TCP port of the gateway:",
            f"  ssh -R 0:localhost:5432 {context.urls.gateway}",
            "      any port, the same every day",
            *(f"  {ports}: {_FOR_ITSELF if own else 'for everybody'}" for ports, own in ranges),
        ]

    def url(self, address: Address, urls: Urls) -> str:
        return urls.tcp(address.port)

    def for_programs(self, address: Address, urls: Urls) -> str:
        return urls.host_port(address.port)

    def in_full(self, address: Address) -> str:
        return str(address.port)

    def short(self, text: str) -> str:
        return text.removeprefix("port ")


TCP: Final = PortKind()


def _local(opened: ListenPort | None, port: int) -> str:
    """`localhost` with the port, or where it listens on `::1` alone, that address."""
    hosts = () if opened is None else opened.hosts
    return f"localhost:{port}" if not hosts or "127.0.0.1" in hosts else str(Endpoint(hosts[0], port))


def _is_public(shown: ForwardShown) -> bool:
    return shown.port is not None and shown.port.public


def _reach(shown: ForwardShown, context: NoticeContext) -> list[str]:
    """The parts of a sentence that says from where a TCP port can be reached."""
    if not _is_public(shown):
        return [_ITSELF]
    if context.public_is_loopback:
        return [_ITSELF, "its operator may open it to the network (tcp.public_addresses)"]
    return ["anybody who can reach the gateway can connect there"]
