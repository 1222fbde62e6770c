"""Finds the files that say who may log in: of keys, of trusted CAs, of principals, of revoked keys. `access_lines` reads
them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ferry.errors import StartupError
from ferry.protocol.authorized_keys import SEVERAL_KEYS, name_of_file
from ferry.protocol.key_paths import AccessPaths, KeyPath, Role, is_copy
from ferry.regular_files import FileStamp

from .strict_modes import Writers, writers_beside

_MEANWHILE: Final = "until then its keys do not log in, and those who are here stay"
COPY: Final = "it is called as a copy of another file, so no key in it counts: delete it, or give it another name"
NOT_A_FILE: Final = "it is not a file, and is not read: put keys into files, or into files of one folder"


def check_there(paths: AccessPaths) -> None:
    """Raise StartupError if one of them cannot be read. Blocks."""
    for role, (path, *_) in paths.all():
        try:
            there = path.exists()
        except OSError as error:
            raise StartupError(f"{role}: {error}: chmod or chown it for this user, or correct the path") from None
        if not there:
            raise StartupError(f"{role}: {path} does not exist: make the file or folder, or correct the path")
        if not os.access(path, os.R_OK):
            raise StartupError(f"{role}: this user cannot read {path}: chmod or chown it")


class Stamp(NamedTuple):
    """A file as it was at one look: other stamps mean that it has to be read again."""

    role: Role
    path: Path
    file: FileStamp
    name: str | None
    """The file's own, if it is in a folder of keys (`name_for`)."""
    user: str | None
    """The login name that its lines are for; None: any."""

    def name_for(self, unnamed: int) -> str | None:
        """The identity name of its keys without `name=`, of which it has `unnamed` different ones. Several are one
        identity only where the operator has called the file so (`ann.keys`): a file of a whole fleet, put into the folder,
        must not make one identity of all machines."""
        return self.name if unnamed <= 1 or self.path.suffix == SEVERAL_KEYS else None


class Rejected(NamedTuple):
    """A line, file or folder that grants nothing."""

    path: Path
    line: int
    """From 1; 0: the whole file or folder."""
    why: str
    """The error, and what to do."""
    detail: str
    """The error for the log, without any text of the line that may be secret."""
    unread: bool = False
    """Nobody knows what the operator has in it now: the file or folder cannot be read, or others could write it."""

    def __str__(self) -> str:
        """The error for people who may read the file."""
        return f"{self.path}{f', line {self.line}' if self.line else ''}: {self.why}"


class Unclear(NamedTuple):
    """A file that counts, perhaps not as its author means."""

    path: Path
    why: str
    """Without any text of its lines."""


def whole(path: Path, why: str, *, unread: bool = False) -> Rejected:
    """A file or folder that grants nothing."""
    return Rejected(path, 0, why, why, unread=unread)


def failed(path: Path, error: OSError) -> Rejected:
    """A file or folder that cannot be read now, for a reason of the system."""
    why = error.strerror or type(error).__name__
    fix = f"put it back, or let the gateway's user read it ({_MEANWHILE})"
    return whole(path, f"it cannot be read ({why}): {fix}", unread=True)


class Listing(NamedTuple):
    """The files that exist, and the files and folders that cannot be looked at."""

    stamps: list[Stamp]
    rejected: list[Rejected]
    copies: list[Path]
    """The files of folders that do not count, for their names are those of copies; without hidden ones."""


def listing_of(paths: AccessPaths) -> Listing:
    """The files in `paths`. Blocks."""
    listing = Listing([], [], [])
    writers = None if paths.strict_beside is None else writers_beside(paths.strict_beside)
    for role, path in paths.all():
        try:
            files = list(_files_of(role, path, listing.copies))
        except OSError as error:
            listing.rejected.append(failed(path.path, error))
            continue
        for file in files:
            _look_at(file, listing, writers)
    return listing


class _File(NamedTuple):
    """A file that may count."""

    role: Role
    path: Path
    is_named: bool = False
    """The configuration names it itself: it is an error if it is missing."""
    name: str | None = None
    user: str | None = None


def _files_of(role: Role, path: KeyPath, copies: list[Path]) -> Iterator[_File]:
    """The files that one path means. Raises OSError."""
    if not path.part:
        if role is Role.REVOKED or not path.path.is_dir():
            yield _File(role, path.path, is_named=True)
            return
        for file in _seen_in(path.path):
            if is_copy(file.name):
                copies.append(file)
            else:
                yield _File(role, file, name=name_of_file(file.name))
        return
    for entry in _seen_in(path.path):
        if (user := path.user_of(entry.name)) is None:
            continue
        if is_copy(entry.name) or is_copy(user):
            copies.append(entry)
        else:
            yield _File(role, path.file_of(user), user=user)


def _seen_in(folder: Path) -> list[Path]:
    """All but hidden files. Raises OSError."""
    return sorted(file for file in folder.iterdir() if not file.name.startswith("."))


def _look_at(file: _File, listing: Listing, writers: Writers | None) -> None:
    try:
        of = file.path.lstat()
        if is_link := stat.S_ISLNK(of.st_mode):
            of = file.path.stat()
        unsafe = None
        # a list of revoked keys lets nobody in, and without it nobody may log in
        if writers is not None and stat.S_ISREG(of.st_mode) and file.role is not Role.REVOKED:
            unsafe = writers.objection(file.path, of, file.user, is_link=is_link)
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        if file.is_named or not is_missing or file.path.is_symlink():
            listing.rejected.append(failed(file.path, error))
        return  # a missing file has gone since the listing, or is that of a login name without keys: no error
    if unsafe is not None:
        rejected = whole(*unsafe, unread=True)
        if rejected not in listing.rejected[-1:]:  # a folder once, not for each of its files
            listing.rejected.append(rejected)
    elif stat.S_ISREG(of.st_mode):
        listing.stamps.append(Stamp(file.role, file.path, FileStamp.of(of), file.name, file.user))
    else:
        listing.rejected.append(whole(file.path, NOT_A_FILE))
