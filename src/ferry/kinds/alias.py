"""`alias`: a name with a port that only its owner's keys reach, through the gateway."""

from __future__ import annotations

from typing import Final

from ferry.errors import InvalidInput, Refusal
from ferry.hostnames import SSH_PORT
from ferry.names import Address, Kind
from ferry.protocol.forward_spec import BindRequest

from .base import ForwardRequest, ForwardShown, NoticeContext, TunnelKind
from .rules import ForwardRules, Web


class AliasKind(TunnelKind):
    """`-R laptop:22:...`."""

    __slots__ = ()

    kind = Kind.ALIAS
    in_rules = "aliases"
    public = False

    def address(self, label: str, port: int) -> Address:
        """The address of an alias."""
        return Address(self.kind, label, port)

    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        if bind.label is None or not bind.port:
            return None
        if bind.label.isdigit():  # ssh reads `80:3000` as the address 80 and the port 3000
            text = f"this names no local service: write -R {bind.label}:localhost:{bind.port}"
            alias = "" if web.has(int(bind.label)) else f", or -R NAME:{bind.port}:localhost:{bind.port} for an alias"
            raise InvalidInput(text + alias)
        return ForwardRequest(self.kind, bind.label, bind.port)

    def form(self, label: str, rules: ForwardRules) -> str:
        del rules
        return f"-R {label}:22:... for a private alias"

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address:
        del rules
        assert request.name is not None  # as `parse` makes it
        return self.address(request.name, request.port)

    def without_key(self) -> Refusal:
        return Refusal("a private alias needs a key: only its owner can reach it", code="needs_key")

    def label_of(self, address: Address, rules: ForwardRules) -> str:
        del rules
        return address.name

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        return f"-R {request.name}:{port}:... once"

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        address, urls = shown.address, context.urls
        if address.port == SSH_PORT:
            way = f"ssh -J {urls.jump} you@{address.name}"
        else:
            way = f"ssh -N -L {address.port}:{address} {urls.gateway}"
        lines = [
            f"Forwarding private alias {address}",
            "  only your own keys reach it, through this gateway:",
            f"  {way}",
        ]
        if address.port != SSH_PORT and context.rules.serves_web:
            lines.append(f"  for a web address instead: ssh -R {address.name}:80:... {urls.gateway}")
        return lines

    def example(self, rules: ForwardRules) -> str:
        del rules
        return "laptop:22:localhost:22"

    def help_lines(self, context: NoticeContext) -> list[str]:
        urls = context.urls
        return [
            "A private machine, reached by your own keys only:",
            f"  ssh -R laptop:22:localhost:22 {urls.gateway}",
            f"      then: ssh -J {urls.jump} you@laptop",
        ]

    def short(self, text: str) -> str:
        return text.partition(":")[0]


ALIAS: Final = AliasKind()
