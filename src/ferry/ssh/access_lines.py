"""Reads the files that say who may log in: what stands in them. `key_files` finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from ferry import limits
from ferry.errors import InvalidInput, Refusal, StartupError
from ferry.names import Fingerprint
from ferry.policy.authorities import Authorities
from ferry.policy.keys import KeyLine
from ferry.policy.locked_out import LockedOut, locked_out
from ferry.policy.port_lines import PortLine, ports_in
from ferry.policy.shut_lines import ShutLine, ports_in_vain, unnamed_keys
from ferry.policy.sshd import SshdRules
from ferry.protocol.authorized_keys import (
    SEVERAL_KEYS,
    AuthorizedKey,
    BadLine,
    ShutKey,
    parse_ca_file,
    parse_file,
    shut_key,
)
from ferry.protocol.certificates import Certificate
from ferry.protocol.key_edits import disabled_lines
from ferry.protocol.key_options import NO_OPTIONS
from ferry.protocol.key_paths import AccessPaths, Role
from ferry.protocol.principals import parse_principals
from ferry.protocol.revocations import Revocations
from ferry.protocol.revoked_keys import parse_revoked
from ferry.regular_files import NotAFile, read_regular
from ferry.this_host import THIS_HOST

from .key_files import NOT_A_FILE, Listing, Rejected, Stamp, Unclear, check_there, failed, listing_of, whole

KEYS_READINGS = 3  # the most readings in one look, while the files change
NAME_OF_ANOTHER: Final = (
    "name= stands in the file of one login name (%u), whose owner could take the identity of anybody with it, so the "
    "line lets nobody in: remove name=, or let the operator put the line into a file without %u"
)
REVOKED_CODE: Final = "key_revoked"
NOTHING_REVOKED: Final = Revocations()
_GONE: Final = "the file is gone"
_NOBODY: Final = "nobody may log in until this list of revoked keys can be read: put the right file there"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one reading of the files."""

    listing: Listing
    lines: dict[Fingerprint, tuple[KeyLine, ...]] = field(default_factory=dict)
    """The lines of each key, in the order of the files."""
    rejected: list[Rejected] = field(default_factory=list)
    ports: dict[int, list[PortLine]] = field(default_factory=dict)
    """The lines that name a port in `permitlisten=`."""
    shut: dict[Fingerprint, tuple[ShutLine, ...]] = field(default_factory=dict)
    """The lines of each key that let nobody in."""
    ports_in_vain: dict[int, list[PortLine]] = field(default_factory=dict)
    """The lines that name a port in `permitlisten=`, and do not keep it."""
    by_name: dict[str, KeyLine] = field(default_factory=dict)
    """A line of each name of a key, of those that let nobody in too."""
    unclear: list[Unclear] = field(default_factory=list)
    """The files whose keys are perhaps not the identities that their author means."""
    authorities: Authorities = field(default_factory=Authorities)
    revoked: Revocations | None = NOTHING_REVOKED
    """None: the list cannot be read, so that nobody may log in."""
    unreadable: str = ""
    """Why that is so, and the file; empty if it is not."""
    revoked_file: str | None = None
    """The list of revoked keys; None without one."""
    sha256: str = ""
    """Of the files, as `_sum_of` has it."""

    def revocation_of(self, fingerprint: Fingerprint, certificate: Certificate | None) -> Refusal | None:
        """The refusal of a key that is on the list of revoked ones, or whose CA is."""
        revoked = self.revoked
        if revoked is None:
            return Refusal(
                "the gateway cannot read its list of revoked keys, so nobody may log in: tell the operator",
                code="revoked_keys_unreadable",
                detail=f"nobody may log in, for the list of revoked keys cannot be read: {self.unreadable}",
            )
        if fingerprint in revoked.keys:
            whose = "your key"
        elif certificate is None:
            return None
        elif certificate.ca_fingerprint in revoked.keys:
            whose = "the CA of your certificate"
        elif revoked.has_certificate(certificate):
            whose = "your certificate"
        else:
            return None
        instead = "another one" if whose.startswith("the CA") else "a new one"
        return Refusal(
            f"{whose} is revoked here: ask the operator for {instead}",
            code=REVOKED_CODE,
            detail=f"{whose.replace('your', 'its')} is on the list of revoked keys",
            rule=self.revoked_file,
        )

    @property
    def names(self) -> frozenset[str]:
        """The names of all keys, of those whose lines let nobody in too."""
        return frozenset(self.by_name)

    def place_of(self, name: str) -> str | None:
        """Where a name is given to a key (`policy.machine_names`)."""
        return None if (line := self.by_name.get(name)) is None else line.place

    @property
    def problem(self) -> str:
        """Why nobody, or not everybody, may log in: a file that cannot be read; empty if there is none."""
        if self.unreadable:
            return f"nobody may log in: {self.unreadable}"
        unread = [each for each in self.rejected if each.unread]
        more = f"; and {len(unread) - 1} more" if len(unread) > 1 else ""
        return f"{unread[0]}{more}" if unread else ""

    def locked_out(self, rules: SshdRules) -> LockedOut:
        """The lines that let nobody in by the operator's settings."""
        return locked_out(rules, self.lines, has_cas=bool(self.authorities.cas))

    def hides(self, path: Path) -> bool:
        """Whether nobody knows what is in that file now."""
        return any(each.path == path or each.path in path.parents for each in self.rejected if each.unread)


def read_access(paths: AccessPaths) -> Found:
    """Read the files in `paths`. Raises StartupError if one of them is missing or cannot be read, or if the list of revoked
    keys is wrong. Blocks."""
    check_there(paths)
    found = read_listed(paths, listing_of(paths))
    if found.revoked is None:
        raise StartupError(found.unreadable)
    return found


def read_listed(paths: AccessPaths, listing: Listing) -> Found:
    """Read the files of `listing`, again if they change meanwhile: a file is empty for a moment while a program writes
    it."""
    found = _read_once(paths, listing)
    for _ in range(KEYS_READINGS - 1):
        listing = listing_of(paths)
        if listing == found.listing:
            break
        found = _read_once(paths, listing)
    return found


def _read_once(paths: AccessPaths, listing: Listing) -> Found:
    reading = _Reading(list(listing.rejected), Authorities(has_principals=paths.principals is not None))
    for stamp in listing.stamps:
        reading.read(stamp)
    lines = {key: tuple(of_key) for key, of_key in reading.lines.items()}
    revoked = reading.revoked if paths.revoked is not None else NOTHING_REVOKED
    unreadable = ""
    if paths.revoked is not None and revoked is None:
        why = next((each for each in reading.rejected if each.path == paths.revoked), "")
        unreadable = f"{Role.REVOKED}: {why or f'{paths.revoked}: {_GONE}'}"
        reading.rejected.append(whole(paths.revoked, _NOBODY))
    shut = {key: tuple(of_key) for key, of_key in reading.shut.items()}
    return Found(
        listing,
        lines=lines,
        rejected=reading.rejected,
        ports=ports_in(lines.items()),
        shut=shut,
        ports_in_vain=ports_in_vain(lines.items(), shut),
        by_name={
            line.name: line
            for line in (
                *(each.line for of_key in shut.values() for each in of_key),
                *(line for of_key in lines.values() for line in of_key),
            )
            if line.name is not None
        },
        unclear=reading.unclear,
        authorities=reading.authorities,
        revoked=revoked,
        unreadable=unreadable,
        revoked_file=None if paths.revoked is None else str(paths.revoked),
        sha256=_sum_of(reading.sums),
    )


def _sum_of(sums: Mapping[Path, str]) -> str:
    """The SHA-256 of the one file; of several, that of what sha256sum(1) prints for them in the order of their paths."""
    if len(sums) == 1:
        return next(iter(sums.values()))
    return sha256("".join(f"{of}  {path}\n" for path, of in sorted(sums.items())).encode()).hexdigest()


@dataclass(slots=True)
class _Reading:
    """The files so far."""

    rejected: list[Rejected]
    authorities: Authorities
    lines: dict[Fingerprint, list[KeyLine]] = field(default_factory=dict)
    shut: dict[Fingerprint, list[ShutLine]] = field(default_factory=dict)
    unclear: list[Unclear] = field(default_factory=list)
    revoked: Revocations | None = None
    sums: dict[Path, str] = field(default_factory=dict)
    """The SHA-256 of each, in hexadecimal."""

    def read(self, stamp: Stamp) -> None:
        """Read the next file."""
        try:
            # Read bytes: in text mode a lone CR would end a line, and with it a comment that disables a key.
            data = read_regular(stamp.path, limits.KEY_FILE_BYTES + 1)
        except NotAFile:
            self.rejected.append(whole(stamp.path, NOT_A_FILE))
            return
        except OSError as error:
            self.rejected.append(failed(stamp.path, error))
            return
        if len(data) > limits.KEY_FILE_BYTES:
            most = f"{limits.KEY_FILE_BYTES // limits.MIB} MiB"
            why = (
                f"it has more than {most}, the most of a file of keys, so none of its keys counts: spread them over "
                "the files of a folder"
            )
            self.rejected.append(whole(stamp.path, why, unread=True))
            return
        self.sums[stamp.path] = sha256(data).hexdigest()
        match stamp.role:
            case Role.KEYS:
                self._keys(stamp, data.decode("utf-8", "replace"))
            case Role.CAS:
                self._cas(stamp, data.decode("utf-8", "replace"))
            case Role.PRINCIPALS:
                self._principals(stamp, data.decode("utf-8", "replace"))
            case Role.REVOKED:
                self._revoked(stamp, data)

    def _keys(self, stamp: Stamp, text: str) -> None:
        keys, bad = parse_file(text, THIS_HOST)
        self._tell(stamp, bad)
        shut = [(each.number, each.key, each.why, each.detail) for each in bad if each.key is not None]
        shut += [
            (number, dead, "", "") for number, body in disabled_lines(text) if (dead := shut_key(body)) is not None
        ]
        name = self._name(stamp, [key for _, key in keys], [dead for _, dead, *_ in shut])
        for number, dead, *why in shut:
            self._shut(KeyLine(dead.name or name, NO_OPTIONS, stamp.user, str(stamp.path), number), dead, *why)
        for number, key in keys:
            of = (stamp.user, str(stamp.path), number)
            if stamp.user is not None and key.name is not None:
                self.rejected.append(Rejected(stamp.path, number, NAME_OF_ANOTHER, NAME_OF_ANOTHER))
                dead = ShutKey(key.algorithm, key.fingerprint)
                self._shut(KeyLine(None, NO_OPTIONS, *of), dead, NAME_OF_ANOTHER, NAME_OF_ANOTHER)
            elif key.options.cert_authority:
                self.authorities.add_line(key.fingerprint, KeyLine(None, key.options, *of))
            else:
                called = key.name or name
                comment = "" if called else key.comment
                line = KeyLine(called, key.options, *of, comment, algorithm=key.algorithm)
                self.lines.setdefault(key.fingerprint, []).append(line)

    def _name(self, stamp: Stamp, keys: Sequence[AuthorizedKey], shut: Sequence[ShutKey]) -> str | None:
        """The identity name of the keys of a file without `name=`."""
        if stamp.name is None:
            return None
        unnamed = unnamed_keys(keys, shut)
        name = stamp.name_for(len(unnamed))
        if name is None:
            why = (
                f"its name names none of its {len(unnamed)} keys without name=, which are an identity each: write "
                f"name= into the comment of each line, or call the file {stamp.name}{SEVERAL_KEYS} if all are of {stamp.name}"
            )
            self.unclear.append(Unclear(stamp.path, why))
        elif (ports := [each for each in unnamed.values() if each]) and not set.intersection(*ports):
            why = (
                f"its {len(unnamed)} keys are one identity, {name}, and name no port in common (permitlisten=): if they are "
                "of several machines, write name= into the comment of each line"
            )
            self.unclear.append(Unclear(stamp.path, why))
        return name

    def _shut(self, line: KeyLine, key: ShutKey, why: str, detail: str) -> None:
        self.shut.setdefault(key.fingerprint, []).append(ShutLine(key, line, why, detail))

    def _cas(self, stamp: Stamp, text: str) -> None:
        keys, bad = parse_ca_file(text)
        self._tell(stamp, bad)
        for number, key in keys:
            self.authorities.add_trusted(key.fingerprint, str(stamp.path), number)

    def _principals(self, stamp: Stamp, text: str) -> None:
        found, bad = parse_principals(text, THIS_HOST)
        self._tell(stamp, bad)
        for number, principal, options in found:
            line = KeyLine(None, options, stamp.user, str(stamp.path), number)
            self.authorities.add_principal(principal, line)

    def _revoked(self, stamp: Stamp, data: bytes) -> None:
        try:
            self.revoked = parse_revoked(data)
        except InvalidInput as error:
            self.rejected.append(Rejected(stamp.path, 0, str(error), error.detail))

    def _tell(self, stamp: Stamp, bad: Sequence[BadLine]) -> None:
        told = bad[: limits.KEY_LINES_REFUSED]  # each report takes time of the event loop
        self.rejected.extend(Rejected(stamp.path, line.number, line.why, line.detail) for line in told)
        if len(bad) > len(told):
            why = f"{len(bad) - len(told):,} more of its lines are refused: correct these"
            self.rejected.append(whole(stamp.path, why))
