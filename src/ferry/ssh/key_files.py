"""Reads key files: which files and folders count, and what stands in them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.policy.keys import KeyLine
from ferry.policy.port_lines import PortLine, ports_in
from ferry.protocol.authorized_keys import name_of_file, parse_file
from ferry.protocol.key_paths import KeyPath, parse_key_path
from ferry.regular_files import NotAFile, read_regular
from ferry.this_host import THIS_HOST

KEYS_READINGS = 3  # the most readings in one look, while the files change
_NOT_A_FILE: Final = "it is not a file, and is not read: put keys into files, or into files of one folder"
_NO_CERTIFICATES: Final = (
    "cert-authority: this version takes no user certificates yet, so the line lets nobody in: list the users' own keys"
)
_NAME_OF_ANOTHER: Final = (
    "name= stands in the file of one login name (%u), whose owner could take the identity of anybody with it, so the "
    "line lets nobody in: remove name=, or let the operator put the line into a file without %u"
)


class _Stamp(NamedTuple):
    """The attributes of a file that change with its content. A program can set the time of modification, or put another
    file in its place, so the device, the inode and the time of change (ctime) are here too."""

    path: Path
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int
    name: str | None
    """The identity name of keys without `name=`: the file's own, if it is in a folder of keys."""
    user: str | None
    """The login name that its keys are for; None: any."""


class Rejected(NamedTuple):
    """A line, file or folder that grants nothing."""

    path: Path
    line: int
    """From 1; 0: the whole file or folder."""
    why: str
    """The error, and what to do."""
    detail: str
    """The error for the log, without any text of the line that may be secret."""

    def __str__(self) -> str:
        """The error for people who may read the file."""
        return f"{self.path}{f', line {self.line}' if self.line else ''}: {self.why}"


def _whole(path: Path, why: str) -> Rejected:
    return Rejected(path, 0, why, why)


class Listing(NamedTuple):
    """The files that exist, and the folders that cannot be listed."""

    stamps: list[_Stamp]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one reading of the files."""

    listing: Listing
    lines: dict[Fingerprint, tuple[KeyLine, ...]] = field(default_factory=dict)
    """The lines of each key, in the order of the files."""
    rejected: list[Rejected] = field(default_factory=list)
    ports: dict[int, list[PortLine]] = field(default_factory=dict)
    """The lines that name a port in `permitlisten=`."""


def read_keys(paths: Sequence[Path]) -> Found:
    """Read the keys in `paths` (files, folders of files, or files for login names). Raises StartupError if one cannot be
    read. Blocks."""
    for path in (parse_key_path(path).path for path in paths):
        try:
            there = path.exists()
        except OSError as error:
            raise StartupError(f"access.keys: {error}: chmod or chown it for this user, or correct the path") from None
        if not there:
            raise StartupError(f"access.keys: {path} does not exist: make the file or folder, or correct the path")
        if not os.access(path, os.R_OK):
            raise StartupError(f"access.keys: this user cannot read {path}: chmod or chown it")
    return read_listed(paths, listing_of(paths))


def read_listed(paths: Sequence[Path], listing: Listing) -> Found:
    """Read the files of `listing`, again if they change meanwhile: a file is empty for a moment while a program writes
    it."""
    found = _read_once(listing)
    for _ in range(KEYS_READINGS - 1):
        listing = listing_of(paths)
        if listing == found.listing:
            break
        found = _read_once(listing)
    return found


def _read_once(listing: Listing) -> Found:
    lines: dict[Fingerprint, list[KeyLine]] = {}
    rejected = list(listing.rejected)
    for stamp in listing.stamps:
        try:
            # Read bytes: in text mode a lone CR would end a line, and with it a comment that disables a key.
            data = read_regular(stamp.path, limits.KEY_FILE_BYTES + 1)
        except NotAFile:
            rejected.append(_whole(stamp.path, _NOT_A_FILE))
            continue
        except OSError as error:
            rejected.append(_whole(stamp.path, str(error)))
            continue
        if len(data) > limits.KEY_FILE_BYTES:
            most = f"{limits.KEY_FILE_BYTES // limits.MIB} MiB"
            rejected.append(
                _whole(
                    stamp.path,
                    f"it has more than {most}, the most of a file of keys, so none of its keys counts: spread them over "
                    "the files of a folder",
                )
            )
            continue
        keys, bad = parse_file(data.decode("utf-8", "replace"), THIS_HOST)
        told = bad[: limits.KEY_LINES_REFUSED]  # each report takes time of the event loop
        rejected.extend(Rejected(stamp.path, line.number, line.why, line.detail) for line in told)
        if len(bad) > len(told):
            rejected.append(
                _whole(stamp.path, f"{len(bad) - len(told):,} more of its lines are refused: correct these")
            )
        for number, key in keys:
            if key.options.cert_authority:
                rejected.append(Rejected(stamp.path, number, _NO_CERTIFICATES, _NO_CERTIFICATES))
                continue
            if stamp.user is not None and key.name is not None:
                rejected.append(Rejected(stamp.path, number, _NAME_OF_ANOTHER, _NAME_OF_ANOTHER))
                continue
            line = KeyLine(key.name or stamp.name, key.options, stamp.user, str(stamp.path), number)
            lines.setdefault(key.fingerprint, []).append(line)
    of_keys = {key: tuple(of_key) for key, of_key in lines.items()}
    return Found(listing, of_keys, rejected, ports_in(of_keys.items()))


def listing_of(paths: Sequence[Path]) -> Listing:
    """The files in `paths`. Blocks."""
    listing = Listing([], [])
    for path in map(parse_key_path, paths):
        try:
            files = list(_files_of(path))
        except OSError as error:
            listing.rejected.append(_whole(path.path, str(error)))
            continue
        for file in files:
            _look_at(file, listing)
    return listing


class _File(NamedTuple):
    """A file that may count."""

    path: Path
    is_named: bool = False
    """`access.keys` names it itself: it is an error if it is missing."""
    name: str | None = None
    user: str | None = None


def _files_of(path: KeyPath) -> Iterator[_File]:
    """The files that one path of `access.keys` means. Raises OSError."""
    if not path.part:
        if not path.path.is_dir():
            yield _File(path.path, is_named=True)
            return
        for file in sorted(path.path.iterdir()):
            if _counts(file):
                yield _File(file, name=name_of_file(file.name))
        return
    for entry in sorted(path.path.iterdir()):
        if _counts(entry) and (user := path.user_of(entry.name)) is not None:
            yield _File(path.file_of(user), user=user)


def _counts(file: Path) -> bool:
    """Hidden files, and the copies that editors make, do not."""
    return not file.name.startswith(".") and not file.name.endswith("~")


def _look_at(file: _File, listing: Listing) -> None:
    try:
        of = file.path.stat()
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if file.is_named or not is_missing or file.path.is_symlink():
            listing.rejected.append(_whole(file.path, str(error)))
        return  # a missing file has gone since the listing, or is that of a login name without keys: no error
    if stat.S_ISREG(of.st_mode):
        stamp = _Stamp(
            file.path, of.st_dev, of.st_ino, of.st_mtime_ns, of.st_ctime_ns, of.st_size, file.name, file.user
        )
        listing.stamps.append(stamp)
    else:
        listing.rejected.append(_whole(file.path, _NOT_A_FILE))
