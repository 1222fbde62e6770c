"""The lines that speak for certificates: which CAs may let whom in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ferry.names import Fingerprint
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_options import KeyOptions

from .keys import KeyLine

_TRUSTED: Final = KeyOptions(cert_authority=True, touch_required=False)
"""A CA that is trusted for all restricts nothing: the certificate alone says what is allowed."""

_Placed = tuple[int, KeyLine]
"""A line and its place among all lines of all files."""


@dataclass(slots=True)
class Authorities:
    """Filled by the reading of files, line by line in their order; asked at each log-in with a certificate, in a time that
    does not grow with the files."""

    has_principals: bool = False
    """Whether principals come from files (`access.authorized_principals`): of CAs that are trusted for all, alone."""
    _lines: dict[tuple[Fingerprint, str | None], list[_Placed]] = field(default_factory=dict)
    """Those with `cert-authority`, by CA and login name."""
    _trusted: dict[Fingerprint, KeyLine] = field(default_factory=dict)
    _principals: dict[tuple[str | None, str], _Placed] = field(default_factory=dict)
    """The first line of each, by login name and principal."""
    _read: int = 0

    def __len__(self) -> int:
        """The number of CAs."""
        return len(self.cas)

    @property
    def cas(self) -> list[Fingerprint]:
        """The CAs, in the order of the files."""
        return list(dict.fromkeys((*self._trusted, *(ca for ca, _ in self._lines))))

    def __iter__(self) -> Iterator[KeyLine]:
        """All lines with options."""
        yield from (line for of_ca in self._lines.values() for _, line in of_ca)
        yield from (line for _, line in self._principals.values())

    @property
    def principals(self) -> int:
        """The number of principals in files."""
        return len(self._principals)

    def add_line(self, ca: Fingerprint, line: KeyLine) -> None:
        """A line with `cert-authority`."""
        self._lines.setdefault((ca, line.user), []).append(self._placed(line))

    def add_trusted(self, ca: Fingerprint, file: str, number: int) -> None:
        """A CA that is trusted for all."""
        self._trusted.setdefault(ca, KeyLine(options=_TRUSTED, file=file, number=number))

    def add_principal(self, principal: str, line: KeyLine) -> None:
        """A principal in the file of a login name, or of all."""
        self._principals.setdefault((line.user, principal), self._placed(line))

    def _placed(self, line: KeyLine) -> _Placed:
        self._read += 1
        return self._read, line

    def lines_of(self, certificate: Certificate, user: str) -> Sequence[KeyLine]:
        """The lines that speak for a certificate and a login name, in the order in which they decide; none: its CA is not
        known."""
        ca = certificate.ca_fingerprint
        placed = [*self._lines.get((ca, None), ()), *self._lines.get((ca, user), ())]
        lines = [line for _, line in sorted(placed, key=lambda each: each[0])]
        if (trusted := self._trusted.get(ca)) is not None:
            lines.append(self._of_principals(trusted, certificate, user) if self.has_principals else trusted)
        return lines

    def _of_principals(self, trusted: KeyLine, certificate: Certificate, user: str) -> KeyLine:
        """The first line with a principal of the certificate. Where there is none, one that lets nobody in."""
        found = [
            placed
            for principal in certificate.principals
            for name in (None, user)
            if (placed := self._principals.get((name, principal))) is not None
        ]
        if not found:
            return replace(trusted, options=replace(_TRUSTED, principals=()))
        return min(found, key=lambda each: each[0])[1]
