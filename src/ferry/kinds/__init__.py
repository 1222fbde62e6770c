"""The kinds of tunnels. One object for each kind implements all that differs between kinds; no other module compares
kinds. A new kind is a file of this package and an entry of `KINDS`. Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ferry.errors import InvalidInput, Refusal
from ferry.names import Identity, Kind
from ferry.protocol.forward_spec import read_forward

from .alias import ALIAS
from .base import ForwardRequest, TunnelKind
from .port import TCP
from .rules import ForwardRules, Web, either
from .unix_socket import NO_SOCKETS, SOCKET
from .web import HTTP

KINDS: Final[Mapping[Kind, TunnelKind]] = MappingProxyType({of.kind: of for of in (HTTP, TCP, ALIAS, SOCKET)})
"""All kinds that the gateway offers. `parse_forward` and `help` use them in this order."""


def kind_of(kind: Kind) -> TunnelKind:
    """The object of a kind. Raises KeyError if the gateway does not offer it."""
    return KINDS[kind]


def check_on(port: int, web: Web, rules: ForwardRules) -> Refusal | None:
    """The refusal of all requests with this port, if the operator has turned their kind off."""
    refusals = (kind.off(port, web, rules) for kind in KINDS.values())
    return next((refusal for refusal in refusals if refusal is not None), None)


def parse_socket(path: bytes, identity: Identity, rules: ForwardRules) -> ForwardRequest | Refusal:
    """Parse a request for a Unix socket. Raises InvalidInput with what to write instead."""
    return SOCKET.parse_path(path, identity, rules) if rules.sockets else NO_SOCKETS


def parse_forward(host: bytes, port: int, web: Web, rules: ForwardRules) -> ForwardRequest:
    """Parse one request for a forward. Raises InvalidInput with what to write instead, of the forms that `rules` allow."""
    bind = read_forward(host, port, web.domain, is_web=web.has(port))
    for kind in KINDS.values():
        if (request := kind.parse(bind, web)) is not None:
            return request
    forms = [form for kind in KINDS.values() if (form := kind.form(bind.label or "NAME", rules)) is not None]
    raise InvalidInput(f"a name with port {port} means nothing: write {either(forms)}")
