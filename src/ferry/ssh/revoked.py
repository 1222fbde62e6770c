"""Finds connections whose key may not log in any more, or only as another identity or with other options: its line has
left the key files or has changed, or the configuration has changed.

An operator who removes a key, or gives it to another person, wants that now, not at the next log-in. But while an
editor writes a file in place, the file is incomplete for a moment, and that must not disconnect a whole fleet. So the
key has to be invalid for REVOKED_SECONDS. While its file cannot be read (a disk that is not mounted), nobody knows, and the
connection stays. A key on the list of revoked ones is there on purpose: its connections end at once.

While the line of a connection stays, nothing ends it: as in sshd, `expiry-time=` is looked at when a key logs in.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Final, Generic, Protocol, TypeVar

from ferry import limits
from ferry.names import Endpoint, Fingerprint
from ferry.policy.keys import Caller, KeyLine, OtherKey
from ferry.protocol.certificates import Certificate

from .access import KeyAccess, LetIn, judged, lines_in
from .access_lines import REVOKED_CODE


class Revocable(LetIn, Hashable, Protocol):
    """A connection, compared by identity."""

    @property
    def user(self) -> str:
        """The login name."""
        ...

    @property
    def peer(self) -> Endpoint: ...

    @property
    def host(self) -> str:
        """The name of its host, or its address."""
        ...


C = TypeVar("C", bound=Revocable)

GONE: Final = "your key may not log in here any more"
RENAMED: Final = "your key has another name= here now, or none: connect again"


class Revoked(Generic[C]):
    """Remembers since when each connection's key is invalid. All times are monotonic seconds."""

    def __init__(self) -> None:
        self._since: dict[C, float] = {}
        """Connections that could not log in with their identity now, and since when."""

    @property
    def suspects(self) -> bool:
        """Whether the last look has seen a connection whose key is invalid."""
        return bool(self._since)

    def look(
        self, connections: Iterable[C], access: KeyAccess, now: float, time: float
    ) -> list[tuple[C, str | KeyLine]]:
        """The connections that could not have logged in as they are for REVOKED_SECONDS: each with the reason to end it,
        or with the line that counts for it now. `time` is in seconds since the epoch."""
        ended: list[tuple[C, str | KeyLine]] = []
        wrong: list[tuple[C, str | KeyLine]] = []
        for one in connections:
            if (revoked := _revocation(one, access)) is not None:
                ended.append((one, revoked))
            elif (change := _changed(one, access, time)) is not None:
                wrong.append((one, change))
        self._since = {one: self._since.get(one, now) for one, _ in wrong}
        return ended + [(one, change) for one, change in wrong if now - self._since[one] >= limits.REVOKED_SECONDS]


def _keys(connection: Revocable) -> list[tuple[Fingerprint, KeyLine]]:
    """The keys of its log-in, each with its line; none if it is anonymous."""
    if (fingerprint := connection.identity.fingerprint) is None:
        return []
    return [(fingerprint, replace(connection.key_line, beside=())), *connection.key_line.beside]


def _certificate(line: KeyLine) -> Certificate | None:
    return None if line.certified is None else line.certified.certificate


def _revocation(connection: Revocable, access: KeyAccess) -> str | None:
    """The reason to end a connection at once, if a key or a CA of it is on the list of revoked ones. While that cannot be
    read nobody logs in, and those who are here stay."""
    for fingerprint, line in _keys(connection):
        refusal = access.revocation_of(fingerprint, _certificate(line))
        if refusal is not None and refusal.code == REVOKED_CODE:
            return refusal.public
    return None


def _changed(connection: Revocable, access: KeyAccess, time: float) -> str | KeyLine | None:
    """The reason why a log-in would not give a connection its identity now, or the other lines that would; None if its own
    lines stand."""
    keys = _keys(connection)
    if not keys:
        return None if access.allows_keyless else GONE
    caller = Caller(connection.user, connection.peer.host, connection.host, time)
    found: list[OtherKey] = []
    for fingerprint, line in keys:
        now = _line_now(fingerprint, line, access, caller)
        if isinstance(now, str):
            return now
        of = connection.identity
        if now.name != (line.name if found else of.name) and (found or now.name is not None or not of.entered):
            return RENAMED
        found.append(OtherKey(fingerprint, now))
    (_, first), *others = found
    new = replace(first, beside=tuple(others))
    return None if new == connection.key_line else new


def _line_now(fingerprint: Fingerprint, line: KeyLine, access: KeyAccess, caller: Caller) -> KeyLine | str:
    """The line by which a key counts now: its own, if that stands. Why not, if there is none."""
    certificate = _certificate(line)
    stands = line if line.certified is None else line.certified.line
    if stands in lines_in(access, fingerprint, certificate, caller.user):
        return line
    if access.hides(line):
        return line
    found = judged(access, fingerprint, certificate, caller)
    if isinstance(found, KeyLine):
        return found
    return GONE if found is None else found.public
