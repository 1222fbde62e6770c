"""Decides who may connect: anyone (the key is the identity), or the public keys in files, read again when they
change."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from ferry import limits
from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.protocol.authorized_keys import name_of_file, parse_file
from ferry.report import Report

KEYS_POLL_SECONDS = 0.5  # between two looks at the files
# The number of looks after a change that read the files even if their times are the same: two writes within a tick of
# the file system's clock (4 ms, or 2 s on FAT) leave the same times, and often the same length.
KEYS_LOOKS_MORE = 5
KEYS_READINGS = 3  # the most readings in one look, while the files change


class KeyAccess(Protocol):
    """The rules of access."""

    def key_name(self, fingerprint: Fingerprint, /) -> tuple[bool, str | None]:
        """Whether the key is acceptable, and the name that the operator gave it."""
        ...

    @property
    def allows_keyless(self) -> bool:
        """Whether clients without a key may connect, as anonymous."""
        ...


class WatchedAccess(KeyAccess, Protocol):
    """As `KeyAccess`, and looked at again while the gateway runs."""

    def read(self) -> Found | None:
        """Look whether the keys have changed. Blocks on the disk, and so runs in a thread, one call at a time."""
        ...

    def use(self, found: Found | None) -> None:
        """Change to what `read` has found."""
        ...


class Anyone:
    """Accepts all keys. A client without one is anonymous."""

    allows_keyless = True

    def key_name(self, _fingerprint: Fingerprint) -> tuple[bool, str | None]:
        return True, None

    def read(self) -> None:
        """There is nothing to read."""

    def use(self, found: Found | None) -> None:
        """There is nothing to change."""


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


class _Listing(NamedTuple):
    """The files that exist, and the folders that cannot be listed."""

    stamps: list[_Stamp]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Found:
    """The result of one reading of the files."""

    listing: _Listing
    names: dict[Fingerprint, str | None]
    rejected: list[Rejected]


def read_keys(paths: Sequence[Path]) -> Found:
    """Read the keys in `paths` (files, or folders of files). Raises StartupError if one cannot be read. Blocks."""
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:
            raise StartupError(f"access.keys: {error}: chmod or chown it for this user, or correct the path") from None
        if not there:
            raise StartupError(f"access.keys: {path} does not exist: make the file or folder, or correct the path")
        if not os.access(path, os.R_OK):
            raise StartupError(f"access.keys: this user cannot read {path}: chmod or chown it")
    return _read(paths, _listing_of(paths))


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

    def key_name(self, fingerprint: Fingerprint) -> tuple[bool, str | None]:
        if fingerprint in self._found.names:
            return True, self._found.names[fingerprint]
        return False, None

    def read(self) -> Found | None:
        """Read the files; None if no file has changed, appeared or gone. A file that cannot be read grants nothing."""
        listing = _listing_of(self._paths)
        if listing == self._found.listing and self._looks_more <= 0:
            return None
        return _read(self._paths, listing)

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
        self._report("keys.loaded", keys=len(found.names), files=len(found.listing.stamps))


def _read(paths: Sequence[Path], listing: _Listing) -> Found:
    """Read the files of `listing`, again if they change meanwhile: a file is empty for a moment while a program writes
    it."""
    found = _read_once(listing)
    for _ in range(KEYS_READINGS - 1):
        listing = _listing_of(paths)
        if listing == found.listing:
            break
        found = _read_once(listing)
    return found


def _read_once(listing: _Listing) -> Found:
    found = Found(listing, {}, list(listing.rejected))
    for stamp in listing.stamps:
        if stamp.size > limits.KEY_FILE_BYTES:
            most = f"{limits.KEY_FILE_BYTES // limits.MIB} MiB"
            found.rejected.append(
                _whole(
                    stamp.path,
                    f"it has {stamp.size:,} bytes, and a file of keys may have {most}, so none of its keys counts: "
                    "spread them over the files of a folder",
                )
            )
            continue
        try:
            # Read bytes: in text mode a lone CR would end a line, and with it a comment that disables a key.
            text = stamp.path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            found.rejected.append(_whole(stamp.path, str(error)))
            continue
        keys, bad = parse_file(text)
        found.rejected.extend(Rejected(stamp.path, line.number, line.why, line.detail) for line in bad)
        found.names.update((key.fingerprint, key.name or stamp.name) for key in keys)
    return found


def _listing_of(paths: Sequence[Path]) -> _Listing:
    listing = _Listing([], [])
    for path in paths:
        try:
            listed = sorted(path.iterdir()) if path.is_dir() else None
        except OSError as error:
            listing.rejected.append(_whole(path, str(error)))
            continue
        for file in [path] if listed is None else listed:
            if listed is not None and (file.name.startswith(".") or file.name.endswith("~")):
                continue
            try:
                of = file.stat()
            except OSError as error:
                if listed is None or file.is_symlink() or not isinstance(error, FileNotFoundError):
                    listing.rejected.append(_whole(file, str(error)))
                continue  # a missing file has gone since the listing, which is no error
            if stat.S_ISREG(of.st_mode):
                name = None if listed is None else name_of_file(file.name)
                stamp = _Stamp(file, of.st_dev, of.st_ino, of.st_mtime_ns, of.st_ctime_ns, of.st_size, name)
                listing.stamps.append(stamp)
            else:
                listing.rejected.append(
                    _whole(file, "it is not a file, and is not read: put keys into files, or into files of one folder")
                )
    return listing
