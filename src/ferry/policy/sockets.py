"""Decides which Unix sockets of the gateway a client may reach with `-L`: those in the folder of its identity."""

from __future__ import annotations

from typing import Final

from ferry.errors import InvalidInput, Refusal
from ferry.kinds import parse_socket
from ferry.kinds.rules import ForwardRules
from ferry.kinds.unix_socket import NO_SOCKETS, SOCKET
from ferry.names import Identity

from .allowance import Allowance
from .grants import SocketGrant, grant_socket
from .judge import Judge

_NO_SOCKETS: Final = Refusal(
    "this gateway has no Unix sockets to reach: write a host and a port, as in -L 8022:laptop:22", code=NO_SOCKETS.code
)


def decide_socket(
    may: Allowance, identity: Identity, path: bytes, rules: ForwardRules, judge: Judge | None
) -> SocketGrant | Refusal:
    """Whether a client may be connected to the socket at `path`, as it has sent it. `judge` is None without a policy
    file."""
    try:
        request = parse_socket(path, identity, rules)
    except InvalidInput as error:
        return Refusal.of_input(error)
    if isinstance(request, Refusal):
        return _NO_SOCKETS if request is NO_SOCKETS else request
    if identity.anonymous:
        return SOCKET.without_key()
    folder, _, name = (request.name or "").partition("/")
    if (refusal := may.socket_refusal(f"{rules.sockets}/{folder}/{name}", listens=False)) is not None:
        return refusal
    rule = None if judge is None else judge.reach_socket(name)
    return rule if isinstance(rule, Refusal) else grant_socket(rules.sockets, folder, name, rule)
