"""The ports that lines of key files name: `permitlisten="21022"` keeps port 21022 for the holder of that key, also before
it has connected for the first time."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from ferry.errors import Refusal
from ferry.kinds import kind_of
from ferry.kinds.rules import ForwardRules
from ferry.names import Address, Fingerprint, Identity
from ferry.protocol.host_patterns import matches
from ferry.protocol.permits import Permit

from .keys import KeyLine

_SHOWN: Final = 3  # ports of one's own in a refusal
_TAKEN: Final = frozenset({"name_reserved", "name_live", "name_resting", "port_kept"})
"""Codes of refusals of an address that is another's."""


class PortLine(NamedTuple):
    """A line of a key that names a port."""

    fingerprint: Fingerprint
    line: KeyLine
    in_vain: str = ""
    """Why it keeps no port, in a word: `refused`, `disabled`, `no forwards`; empty: it keeps it."""

    def is_of(self, identity: Identity) -> bool:
        """Whether its key is one of `identity`. Who logs in with a certificate of that key is another one."""
        return (self.fingerprint == identity.fingerprint and identity.certificate is None) or (
            self.line.name is not None and self.line.name == identity.name
        )

    @property
    def holder(self) -> str:
        """Whose it is, for people, in the form of `str(Identity)`."""
        return f"{self.line.name} ({self.fingerprint})" if self.line.name else self.fingerprint


class PortLines(Protocol):
    """The lines of all keys that name ports."""

    def lines_with_port(self, port: int, /) -> Sequence[PortLine]:
        """Those that name `port`."""
        ...

    def gives(self, port: int, identity: Identity, /) -> bool:
        """Whether the files name `port` for `identity` and for nobody else: all of them could be read, and no refused
        or disabled line of another names it."""
        ...

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        """Every port that is named."""
        ...

    def ports_in_vain(self) -> Mapping[int, Sequence[PortLine]]:
        """The ports that lines name and do not keep: refused and disabled ones, and those that turn forwards off."""
        ...

    def comment_of(self, fingerprint: Fingerprint, /) -> str:
        """What the files call a key without a name; empty if they have none, or nothing there."""
        ...


def ports_of(line: KeyLine) -> list[int]:
    """The ports of the gateway that a line names, in its order. A pattern for ports names none, and neither does a line
    that turns forwards off."""
    return [] if line.options.forwards_off else ports_named(line)


def ports_named(line: KeyLine) -> list[int]:
    """The same, whether the line turns forwards off or not."""
    return list(dict.fromkeys(permit.port for permit in line.options.permit_listen if permit.port and _is_bind(permit)))


def ports_in(lines: Iterable[tuple[Fingerprint, Sequence[KeyLine]]]) -> dict[int, list[PortLine]]:
    """The lines that name ports, by the port. Those for one login name do not count: the account itself may write them,
    and would keep ports from others."""
    found: dict[int, list[PortLine]] = {}
    for fingerprint, of_key in lines:
        for line in of_key:
            for port in ports_of(line) if line.user is None else ():
                found.setdefault(port, []).append(PortLine(fingerprint, line))
    return found


def of_another(address: Address) -> str:
    """What a client is told of an address that belongs to another identity."""
    return f"{address} belongs to somebody else: ask for another"


def kept_for_another(identity: Identity, address: Address, lines: Sequence[PortLine]) -> Refusal | None:
    """The refusal of a port that only lines of others name; None if no line names it, or one of `identity` does."""
    if not lines or any(line.is_of(identity) for line in lines):
        return None
    return Refusal(
        of_another(address),
        code="port_kept",
        detail=f"{address} refused: permitlisten= keeps it for {lines[0].holder}",
        rule=lines[0].line.rule("permitlisten"),
    )


def lasting_label(identity: Identity, address: Address, rules: ForwardRules, lines: Sequence[PortLine]) -> str | None:
    """The label under which an identity keeps a port for good, once it has it; None if it keeps it by use."""
    if identity.anonymous or not kind_of(address.kind).is_port:
        return None
    purpose = rules.purpose_of(address.port)
    if any(line.is_of(identity) for line in lines):
        return purpose or ""
    return purpose if rules.keeps_ports else None


def naming_own(refusal: Refusal, address: Address, own: Sequence[int], lines: Sequence[PortLine] = ()) -> Refusal:
    """The refusal of a port of another with the ports that are the asker's `own`, in which it may be a slip of the pen.
    `lines` are those that name the port: where its own is one of them, two have it."""
    if refusal.code not in _TAKEN or not kind_of(address.kind).is_port or not own:
        return refusal
    if address.port in own and len(lines) == 1:
        return replace(
            refusal,
            public=f"{address} is given to you, and another key still has it: tell the operator",
            detail=f"{refusal.detail}; the line that gives it to the asker: {lines[0].line.place}",
        )
    if address.port in own:
        both = "; ".join(each.line.place for each in lines)
        return replace(
            refusal,
            public=f"{address} is given to two keys, and the other one has it: only the operator can give you another",
            detail=f"{refusal.detail}; permitlisten= names it in several lines ({both}): change it in one of them",
        )
    shown = [str(port) for port in own[:_SHOWN]] + (["others"] if len(own) > _SHOWN else [])
    listed = " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
    mine = f"yours is {listed}" if len(own) == 1 else f"yours are {listed}"
    return replace(
        refusal,
        public=f"{address} belongs to somebody else, and {mine}: write -R {own[0]}:...",
        detail=f"{refusal.detail}; its own: {listed}",
    )


def _is_bind(permit: Permit) -> bool:
    """Whether the host of a permit is one of the gateway's addresses, and no name."""
    return permit.bare or any(matches(permit.host, form) for form in ("", "localhost")) or _is_numeric(permit.host)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class NoPortLines:
    """Implements `PortLines` where there are no key files."""

    def lines_with_port(self, _port: int) -> Sequence[PortLine]:
        return ()

    def gives(self, _port: int, _identity: Identity) -> bool:
        return False

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        return _NONE

    def ports_in_vain(self) -> Mapping[int, Sequence[PortLine]]:
        return _NONE

    def comment_of(self, _fingerprint: Fingerprint) -> str:
        return ""


_NONE: Final[Mapping[int, Sequence[PortLine]]] = {}
NO_PORT_LINES: Final = NoPortLines()


def tcp_ports(addresses: Iterable[Address]) -> Iterator[int]:
    """The ports among addresses."""
    return (address.port for address in addresses if kind_of(address.kind).is_port)
