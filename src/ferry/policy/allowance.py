"""What somebody may ask for: as the line of their key and the operator's settings with sshd's names allow, which both must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ferry.errors import Refusal
from ferry.kinds.base import Listening
from ferry.protocol.permits import ANYWHERE

from . import keys, sshd
from .keys import KeyLine
from .permitted import first_to_write
from .sshd import SshdOptions


class Allowance(NamedTuple):
    """What somebody may ask for."""

    key_line: KeyLine
    """The line of the key files by which they are here."""
    sshd: SshdOptions
    """The operator's settings that count for them."""

    @property
    def listening(self) -> Listening:
        """How their forwards listen."""
        return Listening(self.sshd.gateway_ports, bool(self.sshd.streamlocal_bind_unlink))

    def forwards_refusal(self) -> Refusal | None:
        """The refusal of all forwards."""
        return keys.forwards_refusal(self.key_line) or sshd.listening_refusal(self.sshd)

    def listen_refusal(self, host: bytes, port: int, names: Sequence[str] = ()) -> Refusal | None:
        """As `ferry.policy.keys.listen_refusal`."""
        refused = keys.listen_refusal(self.key_line, host, port, names)
        return refused or sshd.listen_refusal(self.sshd, host, port, names)

    def open_refusal(self, host: bytes, port: int) -> Refusal | None:
        """As `ferry.policy.keys.open_refusal`."""
        return keys.open_refusal(self.key_line, host, port) or sshd.open_refusal(self.sshd, host, port)

    def socket_refusal(self, path: str, *, listens: bool) -> Refusal | None:
        """As `ferry.policy.keys.socket_refusal`."""
        refused = keys.socket_refusal(self.key_line, path, listens=listens)
        return refused or sshd.socket_refusal(self.sshd, path, listens=listens)

    def limits(self) -> list[str]:
        """What they may not do, for people."""
        return [*keys.limits_of(self.key_line), *sshd.limits_of(self.sshd)]

    def example(self, example: str) -> str | None:
        """A forward to type after `-R` as a first one: `example`, or one that they may have. None if they may have none."""
        if self.forwards_refusal() is not None or self.sshd.permit_listen == ():
            return None
        permits = self.key_line.options.permit_listen or self.sshd.permit_listen
        if not permits or permits == ANYWHERE:
            return example
        typed = first_to_write(permits)
        return None if typed is None else f"{typed}:localhost:3000"
