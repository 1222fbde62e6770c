"""Decides who may connect: anyone (the key is the identity), or the public keys and certificates in files, read again when
they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from ferry.errors import Refusal
from ferry.names import Fingerprint, Identity
from ferry.policy import certificates
from ferry.policy.allowance import Allowance
from ferry.policy.keys import ANY_KEY, Caller, KeyLine, log_in
from ferry.policy.locked_out import NOBODY, LockedOut
from ferry.policy.port_lines import NoPortLines, PortLine, PortLines
from ferry.policy.shut_lines import ShutLine
from ferry.policy.sshd import SshdRules
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_paths import AccessPaths
from ferry.report import Report

from .access_lines import Found, read_access, read_listed
from .key_files import COPY, listing_of

KEYS_POLL_SECONDS = 0.5  # between two looks at the files
# The number of looks after a change that read the files even if their times are the same: two writes within a tick of
# the file system's clock (4 ms, or 2 s on FAT) leave the same times, and often the same length.
KEYS_LOOKS_MORE = 5
_ANY_KEY: Final = (ANY_KEY,)
_COPIES_TOLD: Final = 20  # of the files that do not count by their names


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


class Allowed(Protocol):
    """A connection that asks for something."""

    @property
    def identity(self) -> Identity: ...

    @property
    def may(self) -> Allowance:
        """What it may ask for now."""
        ...


class KeyAccess(Protocol):
    """The rules of access."""

    def lines_of(self, fingerprint: Fingerprint, /) -> Sequence[KeyLine]:
        """The lines of a key, in the order in which they decide; none: it may not log in."""
        ...

    def shut_lines_of(self, fingerprint: Fingerprint, /) -> Sequence[ShutLine]:
        """The lines that have this key and let nobody in: refused or disabled ones."""
        ...

    def place_of(self, name: str, /) -> str | None:
        """A line that gives a name, in lower case, to a key (`policy.machine_names`); None: no line does."""
        ...

    def lines_for(self, certificate: Certificate, user: str, /) -> Sequence[KeyLine]:
        """The lines that speak for a certificate and a login name, in their order; none: its CA is not known."""
        ...

    def revocation_of(self, fingerprint: Fingerprint, certificate: Certificate | None, /) -> Refusal | None:
        """The refusal of a key that is on the list of revoked ones, or whose CA is."""
        ...

    def hides(self, line: KeyLine, /) -> bool:
        """Whether a line may still stand: its file, or that of its CA, cannot be read now."""
        ...

    @property
    def allows_keyless(self) -> bool:
        """Whether clients without a key may connect, as anonymous."""
        ...


class WatchedAccess(KeyAccess, PortLines, Protocol):
    """As `KeyAccess`, and looked at again while the gateway runs."""

    def read(self) -> Found | None:
        """Look whether the files have changed. Blocks on the disk, and so runs in a thread, one call at a time."""
        ...

    def use(self, found: Found | None) -> None:
        """Change to what `read` has found."""
        ...

    @property
    def problem(self) -> str:
        """Why nobody, or not everybody, may log in: a file that cannot be read; empty if there is none."""
        ...

    @property
    def mistakes(self) -> Sequence[str]:
        """The lines and files that let nobody in, for the log: each with its place and what to do."""
        ...

    def locked_out(self, rules: SshdRules, /) -> LockedOut:
        """The lines that let nobody in by the operator's settings. Looks at each line, so call it in a thread."""
        ...


class KeptNames:
    """The names of keys whose lines have none: `ferry keys add --user` keeps them in the database."""

    def __init__(self) -> None:
        self._keys: dict[str, list[Fingerprint]] = {}
        """By the name, in lower case."""

    def use(self, keys: Iterable[tuple[Fingerprint, str]]) -> None:
        """Change to these keys, each with the name of its identity."""
        self._keys = {}
        for key, name in keys:
            self._keys.setdefault(name.lower(), []).append(key)

    def place_of(self, access: KeyAccess, name: str) -> str | None:
        """Where the operator has given a name to a key: a line of `access`, or here. A key counts here while a line without
        a name has it."""
        if (place := access.place_of(name)) is not None:
            return place
        for key in self._keys.get(name, ()):
            shut = (each.line for each in access.shut_lines_of(key))
            if (line := next((each for each in (*access.lines_of(key), *shut) if each.name is None), None)) is not None:
                return line.place or key
        return None


def lines_in(
    access: KeyAccess, fingerprint: Fingerprint, certificate: Certificate | None, user: str
) -> Sequence[KeyLine]:
    """The lines by which a key, or a certificate of it, may log in."""
    return access.lines_of(fingerprint) if certificate is None else access.lines_for(certificate, user)


def judged(
    access: KeyAccess, fingerprint: Fingerprint, certificate: Certificate | None, caller: Caller
) -> KeyLine | Refusal | None:
    """The line that lets a key in now, or its `certificate`, which its CA has signed; None if there is no line for it."""
    lines = lines_in(access, fingerprint, certificate, caller.user)
    if not lines:
        return None
    if (revoked := access.revocation_of(fingerprint, certificate)) is not None:
        return revoked
    return log_in(lines, caller) if certificate is None else certificates.log_in(certificate, lines, caller)


class Anyone(NoPortLines):
    """Accepts all keys. A client without one is anonymous."""

    allows_keyless = True
    problem = ""
    mistakes = ()

    def lines_of(self, _fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return _ANY_KEY

    def lines_for(self, _certificate: Certificate, _user: str) -> Sequence[KeyLine]:
        return ()  # the client offers the key itself next

    def revocation_of(self, _fingerprint: Fingerprint, _certificate: Certificate | None) -> Refusal | None:
        return None

    def shut_lines_of(self, _fingerprint: Fingerprint) -> Sequence[ShutLine]:
        return ()

    def place_of(self, _name: str) -> None:
        """No line gives a name."""

    def hides(self, _line: KeyLine) -> bool:
        return False

    def read(self) -> None:
        """There is nothing to read."""

    def use(self, found: Found | None) -> None:
        """There is nothing to change."""

    def locked_out(self, _rules: SshdRules) -> LockedOut:
        return NOBODY


class AuthorizedKeys:
    """The keys and certificates in files, as `read_access` finds them. `anyone`: all keys but the revoked ones.

    The constructor and `read` block on the disk, so call them in a thread. The event loop calls the other methods.
    """

    def __init__(self, paths: AccessPaths, report: Report, *, anyone: bool = False) -> None:
        self.allows_keyless = anyone
        self._paths = paths
        self._report = report
        self._found = read_access(paths)
        self._named = self._found.by_name
        """The names of keys. Those of a file that cannot be read stay: nobody shall take them meanwhile."""
        self._told = False
        self._looks_more = KEYS_LOOKS_MORE

    def lines_of(self, fingerprint: Fingerprint) -> Sequence[KeyLine]:
        return _ANY_KEY if self.allows_keyless else self._found.lines.get(fingerprint, ())

    def lines_for(self, certificate: Certificate, user: str) -> Sequence[KeyLine]:
        return self._found.authorities.lines_of(certificate, user)

    def revocation_of(self, fingerprint: Fingerprint, certificate: Certificate | None) -> Refusal | None:
        return self._found.revocation_of(fingerprint, certificate)

    def lines_with_port(self, port: int) -> Sequence[PortLine]:
        return self._found.ports.get(port, ())

    def gives(self, port: int, identity: Identity) -> bool:
        found = self._found
        named = (*found.ports.get(port, ()), *found.ports_in_vain.get(port, ()))
        return port in found.ports and not found.problem and all(line.is_of(identity) for line in named)

    def ports(self) -> Mapping[int, Sequence[PortLine]]:
        return self._found.ports

    def ports_in_vain(self) -> Mapping[int, Sequence[PortLine]]:
        return self._found.ports_in_vain

    def comment_of(self, fingerprint: Fingerprint) -> str:
        return next((line.comment for line in self._found.lines.get(fingerprint, ()) if line.comment), "")

    def shut_lines_of(self, fingerprint: Fingerprint) -> Sequence[ShutLine]:
        return self._found.shut.get(fingerprint, ())

    def place_of(self, name: str) -> str | None:
        line = None if self.allows_keyless else self._named.get(name)
        return None if line is None else line.place

    @property
    def problem(self) -> str:
        return self._found.problem

    @property
    def mistakes(self) -> Sequence[str]:
        return [str(each._replace(why=each.detail)) for each in self._found.rejected]

    def locked_out(self, rules: SshdRules) -> LockedOut:
        return NOBODY if self.allows_keyless else self._found.locked_out(rules)

    def hides(self, line: KeyLine) -> bool:
        written = line if line.certified is None else line.certified.line
        cas = self._paths.trusted_cas if line.certified is not None else ()
        return any(self._found.hides(path) for path in (Path(written.file), *cas))

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
        self._named = {**self._named, **found.by_name} if found.problem else found.by_name
        if found != before:
            self._tell(found)

    def _tell(self, found: Found) -> None:
        for rejected in found.rejected:
            self._report("keys.rejected", path=str(rejected.path), line=rejected.line, error=rejected.detail)
        for unclear in found.unclear:
            self._report("keys.unclear", path=str(unclear.path), why=unclear.why)
        for copy in found.listing.copies[:_COPIES_TOLD]:
            self._report("keys.unclear", path=str(copy), why=COPY)
        self._report(
            "keys.loaded",
            keys=len(found.lines),
            files=len(found.listing.stamps),
            authorities=len(found.authorities),
            revoked=0 if found.revoked is None else len(found.revoked),
            sha256=found.sha256,
        )
