"""Who may connect: anyone (the key is the identity), or the public keys in files that are re-read when they change."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.protocol.authorized_keys import parse_file
from ferry.report import Report

KEYS_POLL_SECONDS = 0.5  # how often the files are looked at
KEY_FILE_BYTES = 4 * 1024 * 1024  # largest file that is read
KEYS_LOOKS_MORE = 5  # looks after a change at which the files are read, whatever their times say: what is written
# twice within a tick of the file system's clock (4 ms, or the 2 s of FAT) has the same times, and often the same length
KEYS_READINGS = 3  # in one look, while the files change


class Anyone:
    """Every key is accepted; a client without one is anonymous."""

    keyless = True

    def key_name(self, _fingerprint: Fingerprint) -> tuple[bool, str | None]:
        return True, None

    def read(self) -> None:
        """Nothing to read."""

    def use(self, found: Found | None) -> None:
        """Nothing to change."""


class _Stamp(NamedTuple):
    """What of a file changes with what it holds. Its time can be set, and another file may take its place: so those
    that nobody can set are here too."""

    path: Path
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int


Rejected = tuple[str, int, str]
"""Path, line (0: the whole file or folder) and what is wrong with it."""


class _Look(NamedTuple):
    """The files that are there, and folders that cannot be listed."""

    stamps: list[_Stamp]
    rejected: list[Rejected]


@dataclass(frozen=True, slots=True)
class Found:
    """What one reading of the files has found."""

    look: _Look
    names: dict[Fingerprint, str | None]
    rejected: list[Rejected]


class KeyFiles:
    """The keys in `paths` (files, or folders of files). Raises StartupError when a path cannot be read at first.

    What blocks on the disk is in the constructor and in `read`, for a thread; the rest is the event loop's.
    """

    keyless = False

    def __init__(self, paths: Sequence[Path], report: Report) -> None:
        self._paths = list(paths)
        self._report = report
        for path in self._paths:
            try:
                there = path.exists()
            except OSError as error:
                raise StartupError(
                    f"access.keys: {error}: chmod or chown it for this user, or correct the path"
                ) from None
            if not there:
                raise StartupError(f"access.keys: {path} does not exist: make the file or folder, or correct the path")
            if not os.access(path, os.R_OK):
                raise StartupError(f"access.keys: {path} cannot be read by this user: chmod or chown it")
        self._found = self._read(self._look())
        self._told = False
        self._looks_more = KEYS_LOOKS_MORE

    def key_name(self, fingerprint: Fingerprint) -> tuple[bool, str | None]:
        if fingerprint in self._found.names:
            return True, self._found.names[fingerprint]
        return False, None

    def __len__(self) -> int:
        return len(self._found.names)

    def read(self) -> Found | None:
        """What the files hold; None if none was changed, added or removed. What cannot be read grants nothing."""
        look = self._look()
        if look == self._found.look and self._looks_more <= 0:
            return None
        return self._read(look)

    def use(self, found: Found | None) -> None:
        """From now on what `read` has found is what counts; None changes nothing. Tells what is new, and at the first
        call what was found at first."""
        before = self._found
        if not self._told:
            self._told = True
            self._tell(before)
        if found is None:
            return
        self._looks_more = self._looks_more - 1 if found.look == before.look else KEYS_LOOKS_MORE
        self._found = found
        if found != before:
            self._tell(found)

    def _tell(self, found: Found) -> None:
        for path, line, error in found.rejected:
            self._report("keys.rejected", path=path, line=line, error=error)
        self._report("keys.loaded", keys=len(found.names), files=len(found.look.stamps))

    def _read(self, look: _Look) -> Found:
        """Read what `look` has seen; again if it changes meanwhile: a file that is being written is empty for a moment."""
        found = self._read_once(look)
        for _ in range(KEYS_READINGS - 1):
            look = self._look()
            if look == found.look:
                break
            found = self._read_once(look)
        return found

    def _read_once(self, look: _Look) -> Found:
        found = Found(look, {}, list(look.rejected))
        for stamp in look.stamps:
            try:
                # As bytes: in a text a lone CR would end a line, and with it the comment that took a key out.
                text = stamp.path.read_bytes().decode("utf-8", "replace") if stamp.size <= KEY_FILE_BYTES else ""
            except OSError as error:
                found.rejected.append((str(stamp.path), 0, str(error)))
                continue
            keys, bad = parse_file(text)
            found.rejected.extend((str(stamp.path), line.number, line.detail) for line in bad)
            found.names.update((key.fingerprint, key.name) for key in keys)
        return found

    def _look(self) -> _Look:
        look = _Look([], [])
        for path in self._paths:
            try:
                files = sorted(path.iterdir()) if path.is_dir() else [path]
            except OSError as error:
                look.rejected.append((str(path), 0, str(error)))
                continue
            for file in files:
                if file is not path and (file.name.startswith(".") or file.name.endswith("~")):
                    continue
                try:
                    of = file.stat()
                except OSError:
                    continue
                if stat.S_ISREG(of.st_mode):
                    look.stamps.append(_Stamp(file, of.st_dev, of.st_ino, of.st_mtime_ns, of.st_ctime_ns, of.st_size))
        return look
