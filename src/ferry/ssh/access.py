"""Decides who may connect: anyone (the key is the identity), or the public keys in files, read again when they
change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from ferry.names import Fingerprint, Identity
from ferry.policy.keys import ANY_KEY, KeyLine
from ferry.policy.port_lines import NoPortLines, PortLine, PortLines
from ferry.report import Report

from .key_files import Found, listing_of, read_keys, read_listed

KEYS_POLL_SECONDS = 0.5  # between two looks at the files
# The number of looks after a change that read the files even if their times are the same: two writes within a tick of
# the file system's clock (4 ms, or 2 s on FAT) leave the same times, and often the same length.
KEYS_LOOKS_MORE = 5
_ANY_KEY: Final = (ANY_KEY,)


class LetIn(Protocol):
    """A connection that has logged in."""

    @property
    def identity(self) -> Identity:
        """Its identity, with the key that has signed unless it is anonymous."""
        ...

    @property
    def key_line(self) -> KeyLine:
        """The line of the key files by which it is here."""
        ...


class KeyAccess(Protocol):
    """The rules of access."""

    def lines_of(self, fingerprint: Fingerprint, /) -> Sequence[KeyLine]:
        """The lines of a key, in the order in which they decide; none: it may not log in."""
        ...

    @property
    def allows_keyless(self) -> bool:
        """Whether clients without a key may connect, as anonymous."""
        ...


class WatchedAccess(KeyAccess, PortLines, Protocol):
    """As `KeyAccess`, and looked at again while the gateway runs."""

    def read(self) -> Found | None:
        """Look whether the keys have changed. Blocks on the disk, and so runs in a thread, one call at a time."""
        ...

    def use(self, found: Found | None) -> None:
        """Change to what `read` has found."""
        ...


class Anyone(NoPortLines):
    """Accepts all keys. A client without one is anonymous."""

    allows_keyless = True

    def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return _ANY_KEY

    def read(self) -> None:
        """There is nothing to read."""

    def use(self, found: Found | None) -> None:
        """There is nothing to change."""


class AuthorizedKeys:
    """The keys in `paths`, as `read_keys` finds them.

    The constructor and `read` block on the disk, so call them in a thread. The event loop calls the other methods.
    """

    allows_keyless = False

    def __init__(self, paths: Sequence[Path], report: Report) -> None:
        self._paths = list(paths)
        self._report = report
        self._found = read_keys(self._paths)
        self._told = False
        self._looks_more = KEYS_LOOKS_MORE

    def lines_of(self, fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return self._found.lines.get(fingerprint, ())

    def lines_with_port(self, port: int) -> Sequence[PortLine]:
        return self._found.ports.get(port, ())

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        return self._found.ports

    def read(self) -> Found | None:
        """Read the files; None if no file has changed, appeared or gone. A file that cannot be read grants nothing."""
        listing = listing_of(self._paths)
        if listing == self._found.listing and self._looks_more <= 0:
            return None
        return read_listed(self._paths, listing)

    def use(self, found: Found | None) -> None:
        """Put the result of `read` in force; None changes nothing. Reports new results, and at the first call the
        result of the constructor."""
        before = self._found
        if not self._told:
            self._told = True
            self._tell(before)
        if found is None:
            return
        self._looks_more = self._looks_more - 1 if found.listing == before.listing else KEYS_LOOKS_MORE
        self._found = found
        if found != before:
            self._tell(found)

    def _tell(self, found: Found) -> None:
        for rejected in found.rejected:
            self._report("keys.rejected", path=str(rejected.path), line=rejected.line, error=rejected.detail)
        self._report("keys.loaded", keys=len(found.lines), files=len(found.listing.stamps))
