"""Lines of key files that have a key and let nobody in: they are refused for a mistake, or disabled. Who asks about such a
key hears of its line, and the ports that it names are given to nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ferry.errors import Refusal
from ferry.names import Fingerprint
from ferry.protocol.authorized_keys import AuthorizedKey, ShutKey

from .keys import KeyLine
from .port_lines import PortLine, ports_named


class ShutLine(NamedTuple):
    """One of them."""

    key: ShutKey
    line: KeyLine
    """Its name, file and number. It has no options: nothing is decided by it."""
    why: str
    """The mistake, with what to write; empty: the line is disabled."""
    detail: str
    """The mistake for the log, without any text of the line that may be secret."""

    @property
    def reason(self) -> str:
        """Why it lets nobody in, for the operator: file, line, and what to do."""
        if self.why:
            return f"{self.line.place} has this key, and is refused: {self.why}"
        name = self.line.name or self.key.fingerprint
        return f"{self.line.place} has this key, and is disabled: `ferry keys enable {name}` lets it in again"

    @property
    def refusal(self) -> Refusal:
        """The refusal of its key."""
        if self.why:
            return Refusal(
                "the gateway refuses the line of your key for a mistake in it: tell the operator, whose log names it",
                code="key_line",
                detail=f"its line is refused: {self.detail}",
                rule=self.line.place,
            )
        return Refusal(
            "your key is disabled here: ask the operator to enable it",
            code="key_disabled",
            detail=f"its line is disabled: `ferry keys enable {self.line.name or self.key.fingerprint}` lets it in again",
            rule=self.line.place,
        )


def shut_line_for(lines: Sequence[ShutLine], user: str | None) -> ShutLine | None:
    """The first line that counts for a login name (None: any)."""
    return next((each for each in lines if user is None or each.line.user in (None, user)), None)


def ports_in_vain(
    lines: Iterable[tuple[Fingerprint, Sequence[KeyLine]]], shut: Mapping[Fingerprint, Sequence[ShutLine]]
) -> dict[int, list[PortLine]]:
    """The lines that name ports and keep none, by the port: shut ones, and those that turn forwards off. Those for one
    login name do not count (`ports_in`)."""
    found: dict[int, list[PortLine]] = {}
    for port, line in (*_shut(shut), *_closed(lines)):
        found.setdefault(port, []).append(line)
    return found


def unnamed_keys(keys: Iterable[AuthorizedKey], shut: Iterable[ShutKey]) -> dict[Fingerprint, set[int]]:
    """The keys of users in a file without `name=`, each with the ports that its lines name. Shut lines count too, so that a
    key that is disabled renames no other."""
    found: dict[Fingerprint, set[int]] = {}
    for key in keys:
        if key.name is None and not key.options.cert_authority:
            found.setdefault(key.fingerprint, set()).update(ports_named(KeyLine(None, key.options)))
    for one in shut:
        if one.name is None:
            found.setdefault(one.fingerprint, set()).update(one.ports)
    return found


def _shut(shut: Mapping[Fingerprint, Sequence[ShutLine]]) -> Iterator[tuple[int, PortLine]]:
    for key, of_key in shut.items():
        for one in of_key:
            for port in one.key.ports if one.line.user is None else ():
                yield port, PortLine(key, one.line, "refused" if one.why else "disabled")


def _closed(lines: Iterable[tuple[Fingerprint, Sequence[KeyLine]]]) -> Iterator[tuple[int, PortLine]]:
    for key, of_key in lines:
        for line in of_key:
            if line.options.forwards_off and line.user is None:
                yield from ((port, PortLine(key, line, "no forwards")) for port in ports_named(line))
