"""`socket`: a Unix socket of the gateway, in the folder of its owner."""

from __future__ import annotations

import hashlib
from typing import Final

from ferry.errors import Refusal
from ferry.hostnames import Urls
from ferry.names import Address, Identity, Kind
from ferry.protocol.forward_spec import BindRequest
from ferry.protocol.socket_path import is_name, parse_socket_path

from .base import ForwardRequest, ForwardShown, Listening, ListenSocket, NoticeContext, TunnelKind
from .rules import ForwardRules, Web

_KEY_NAME: Final = 16  # hexadecimal digits that stand for an identity without a name


class SocketKind(TunnelKind):
    """`-R /x.sock:...`. Programs on the gateway's machine reach it, as far as its folder lets them."""

    __slots__ = ()

    kind = Kind.SOCKET
    in_rules = "sockets"

    def parse(self, bind: BindRequest, web: Web) -> ForwardRequest | None:
        """Never: a request for a socket has no port (`parse_path`)."""
        del bind, web
        return None

    def parse_path(self, path: bytes, identity: Identity, rules: ForwardRules) -> ForwardRequest:
        """The request for the socket at `path`. Raises InvalidInput with what to write instead."""
        own = folder_of(identity)
        return ForwardRequest(self.kind, f"{own}/{parse_socket_path(path, f'{rules.sockets}/{own}')}", 0)

    def address(self, identity: Identity, name: str) -> Address:
        """The address of a socket in the folder of an identity."""
        return Address(self.kind, f"{folder_of(identity)}/{name}")

    def requested(self, request: ForwardRequest, rules: ForwardRules) -> Address:
        del rules
        assert request.name is not None  # as `parse_path` makes it
        return Address(self.kind, request.name)

    def without_key(self) -> Refusal:
        return Refusal("a socket needs a key: its folder belongs to an identity", code="needs_key")

    def name_in_rules(self, address: Address, rules: ForwardRules) -> str:
        del rules
        return address.name.partition("/")[2]  # the folder is always that of the owner

    def refuse_address(self, address: Address, rules: ForwardRules) -> Refusal | None:
        del address
        return None if rules.sockets else NO_SOCKETS

    def opening(self, address: Address, request: ForwardRequest, rules: ForwardRules, how: Listening) -> ListenSocket:
        del request
        folder, _, name = address.name.partition("/")
        return ListenSocket(rules.sockets, folder, name, how.unlink)

    def duplicate_hint(self, request: ForwardRequest, port: int) -> str:
        del request, port
        return "-R /one.sock:... -R /two.sock:..."

    def forward_lines(self, shown: ForwardShown, context: NoticeContext) -> list[str]:
        return [
            f"Forwarding a Unix socket from {context.rules.sockets}/{shown.address.name}",
            "  programs on the gateway's own machine can connect there, of its user and of root",
        ]

    def help_lines(self, context: NoticeContext) -> list[str]:
        if not context.rules.sockets:
            return []
        return ["A Unix socket of the gateway:", f"  ssh -R /x.sock:localhost:5432 {context.urls.gateway}"]

    def for_people(self, address: Address, urls: Urls) -> str:
        del urls
        return f"socket {address.name}"

    def short(self, text: str) -> str:
        return text.partition("/")[2]


SOCKET: Final = SocketKind()
NO_SOCKETS: Final = Refusal(
    "this gateway forwards no Unix sockets: write -R NAME:80:... or -R 0:...", code="no_sockets"
)


def folder_of(identity: Identity) -> str:
    """The name of an identity's folder of sockets: its own name, else one made of its id."""
    if identity.name and is_name(identity.name):
        return identity.name
    return f"key-{hashlib.sha256(identity.id.encode()).hexdigest()[:_KEY_NAME]}"
