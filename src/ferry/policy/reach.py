"""Decides what a client may reach through the gateway: the targets of `direct-tcpip` opens (RFC 4254 §7.2), which `-L`, `-D`,
`-W` and `-J` make.

`ssh/direct.py` looks a target up, and these functions decide on what it has found, each time: when the channel opens, and
again when the key's line has other options. A client reaches what is its own. For anything else the operator has to name
the target for it; `Wanted.named` is the one place that knows how.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ferry.errors import Refusal
from ferry.names import Identity, printable

from .grants import Grant
from .keys import KeyLine, names_open, open_refusal
from .visits import Target, VisitPolicy


@dataclass(frozen=True, slots=True)
class Wanted:
    """One open: who asks, and the target as the client has sent it."""

    who: Identity
    line: KeyLine
    """The line of the key files by which `who` is here."""
    host: bytes
    port: int

    @property
    def named(self) -> bool:
        """Whether the operator has named this target for `who`, so that it need not be its own."""
        return names_open(self.line, self.host, self.port)


def key_refusal(wanted: Wanted) -> Refusal | None:
    """The refusal by the options of the key's line, whatever the target turns out to be."""
    return open_refusal(wanted.line, wanted.host, wanted.port)


def decide_tunnel(wanted: Wanted, target: Target, visits: VisitPolicy) -> Grant | Refusal:
    """Whether `wanted` may have a stream to the tunnel that it means."""
    if (refusal := key_refusal(wanted)) is not None:
        return refusal
    return visits.decide(wanted.who, replace(target, named=wanted.named))


def unknown(wanted: Wanted) -> Refusal:
    """The refusal of a target that is neither a tunnel's nor named by the operator."""
    shown = printable(wanted.host.decode("utf-8", "backslashreplace"), 80)
    return Refusal(
        "through this gateway you can reach your own aliases and ports only; its operator can allow more (permitopen=)",
        code="not_yours",
        detail=f"{wanted.who} asked for {shown}:{wanted.port}, which is no tunnel's, and permitopen= does not name it",
    )
