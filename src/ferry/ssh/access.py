"""Who may connect: anyone (the key is the identity), or the public keys in files that are re-read when they change."""

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
from ferry.protocol.authorized_keys import parse_file
from ferry.report import Report

KEYS_POLL_SECONDS = 0.5  # how often the files are looked at
KEYS_LOOKS_MORE = 5  # looks after a change at which the files are read, whatever their times say: what is written
# twice within a tick of the file system's clock (4 ms, or the 2 s of FAT) has the same times, and often the same length
KEYS_READINGS = 3  # in one look, while the files change


class KeyAccess(Protocol):
    """Who may connect."""

    def key_name(self, fingerprint: Fingerprint, /) -> tuple[bool, str | None]:
        """Whether the key is acceptable, and the name that the operator gave it."""
        ...

    @property
    def keyless(self) -> bool:
        """Whether clients without a key are let in, as anonymous."""
        ...


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


class Rejected(NamedTuple):
    """What grants nothing."""

    path: Path
    line: int
    """From 1; 0: the whole file or folder."""
    why: str
    """What is wrong with it, and what to do."""
    detail: str
    """The same for the log, which repeats nothing of a line that may be secret."""

    def __str__(self) -> str:
        """For whoever may read the file."""
        return f"{self.path}{f', line {self.line}' if self.line else ''}: {self.why}"


def _whole(path: Path, why: str) -> Rejected:
    return Rejected(path, 0, why, why)


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


def read_keys(paths: Sequence[Path]) -> Found:
    """What `paths` (files, or folders of files) hold. Raises StartupError when one of them cannot be read. Blocks."""
    for path in paths:
        try:
            there = path.exists()
        except OSError as error:
            raise StartupError(f"access.keys: {error}: chmod or chown it for this user, or correct the path") from None
        if not there:
            raise StartupError(f"access.keys: {path} does not exist: make the file or folder, or correct the path")
        if not os.access(path, os.R_OK):
            raise StartupError(f"access.keys: {path} cannot be read by this user: chmod or chown it")
    return _read(paths, _look(paths))


class KeyFiles:
    """The keys in `paths`, as `read_keys`.

    What blocks on the disk is in the constructor and in `read`, for a thread; the rest is the event loop's.
    """

    keyless = False

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

    def __len__(self) -> int:
        return len(self._found.names)

    def read(self) -> Found | None:
        """What the files hold; None if none was changed, added or removed. What cannot be read grants nothing."""
        look = _look(self._paths)
        if look == self._found.look and self._looks_more <= 0:
            return None
        return _read(self._paths, look)

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
        for rejected in found.rejected:
            self._report("keys.rejected", path=str(rejected.path), line=rejected.line, error=rejected.detail)
        self._report("keys.loaded", keys=len(found.names), files=len(found.look.stamps))


def _read(paths: Sequence[Path], look: _Look) -> Found:
    """Read what `look` has seen; again if it changes meanwhile: a file that is being written is empty for a moment."""
    found = _read_once(look)
    for _ in range(KEYS_READINGS - 1):
        look = _look(paths)
        if look == found.look:
            break
        found = _read_once(look)
    return found


def _read_once(look: _Look) -> Found:
    found = Found(look, {}, list(look.rejected))
    for stamp in look.stamps:
        if stamp.size > limits.KEY_FILE_BYTES:
            most = f"{limits.KEY_FILE_BYTES // limits.MIB} MiB"
            found.rejected.append(
                _whole(
                    stamp.path,
                    f"it has {stamp.size:,} bytes, and one file of keys may have {most}, so none of its keys counts: "
                    "spread them over the files of a folder",
                )
            )
            continue
        try:
            # As bytes: in a text a lone CR would end a line, and with it the comment that took a key out.
            text = stamp.path.read_bytes().decode("utf-8", "replace")
        except OSError as error:
            found.rejected.append(_whole(stamp.path, str(error)))
            continue
        keys, bad = parse_file(text)
        found.rejected.extend(Rejected(stamp.path, line.number, line.why, line.detail) for line in bad)
        found.names.update((key.fingerprint, key.name) for key in keys)
    return found


def _look(paths: Sequence[Path]) -> _Look:
    look = _Look([], [])
    for path in paths:
        try:
            listed = sorted(path.iterdir()) if path.is_dir() else None
        except OSError as error:
            look.rejected.append(_whole(path, str(error)))
            continue
        for file in [path] if listed is None else listed:
            if listed is not None and (file.name.startswith(".") or file.name.endswith("~")):
                continue
            try:
                of = file.stat()
            except OSError as error:
                if listed is None or file.is_symlink() or not isinstance(error, FileNotFoundError):
                    look.rejected.append(_whole(file, str(error)))
                continue  # else it was taken away since the folder was listed
            if stat.S_ISREG(of.st_mode):
                look.stamps.append(_Stamp(file, of.st_dev, of.st_ino, of.st_mtime_ns, of.st_ctime_ns, of.st_size))
            else:
                look.rejected.append(
                    _whole(file, "it is no file, so it is not read: keys are in files, or in files of one folder")
                )
    return look
