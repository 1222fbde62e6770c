"""Decides which Unix sockets of the gateway a client may reach with `-L`: those in the folder of its identity."""

from __future__ import annotations

from ferry.errors import InvalidInput, Refusal
from ferry.kinds import parse_socket
from ferry.kinds.rules import ForwardRules
from ferry.names import Identity

from .allowance import Allowance
from .grants import SocketGrant, grant_socket


def decide_socket(
    may: Allowance, identity: Identity, path: bytes, rules: ForwardRules, *, ruled: bool
) -> SocketGrant | Refusal:
    """Whether a client may be connected to the socket at `path`, as it has sent it. `ruled`: there is a policy file."""
    try:
        request = parse_socket(path, identity, rules, ruled=ruled)
    except InvalidInput as error:
        return Refusal(str(error), code="invalid", detail=error.detail, repeats_input=True)
    if isinstance(request, Refusal):
        return request
    folder, _, name = (request.name or "").partition("/")
    grant = grant_socket(rules.sockets, folder, name)
    return may.socket_refusal(str(grant), listens=False) or grant
