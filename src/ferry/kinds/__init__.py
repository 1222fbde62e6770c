"""The kinds of tunnels. What differs from kind to kind is said by one object of each, and no other module compares kinds:
a new kind is a file of this package and a line of `KINDS`. Pure: no I/O, no clock, no asyncio.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ferry.errors import InvalidInput
from ferry.names import Kind
from ferry.protocol.forward_spec import read_forward

from .alias import ALIAS
from .base import ForwardRequest, TunnelKind
from .port import TCP
from .rules import Web
from .web import HTTP

KINDS: Final[Mapping[Kind, TunnelKind]] = MappingProxyType({of.kind: of for of in (HTTP, TCP, ALIAS)})
"""Every kind that is offered, in the order in which a request is shown to them and help tells of them."""


def kind_of(kind: Kind) -> TunnelKind:
    """What is to be known of a kind. Raises KeyError where it is not offered."""
    return KINDS[kind]


def parse_forward(host: bytes, port: int, web: Web) -> ForwardRequest:
    """Read one request for a forward. Raises InvalidInput with what to write instead."""
    asked = read_forward(host, port, web.domain)
    for kind in KINDS.values():
        if (request := kind.parse(asked, web)) is not None:
            return request
    raise InvalidInput(
        f"a name with port {port} means nothing: write -R {asked.label}:80:... for a web address, "
        f"-R {asked.label}:22:... for a private alias, or -R 0:... for a port"
    )
