"""Who may connect: anyone (the key is the identity), or the public keys in files that are re-read when they change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ferry.errors import StartupError
from ferry.names import Fingerprint
from ferry.protocol.authorized_keys import parse_file
from ferry.report import Report

KEYS_POLL_SECONDS = 0.5  # how often the files are looked at
KEY_FILE_BYTES = 4 * 1024 * 1024  # largest file that is read


class Anyone:
    """Every key is accepted; a client without one is anonymous."""

    keyless = True

    def key_name(self, _fingerprint: Fingerprint) -> tuple[bool, str | None]:
        return True, None

    def read(self) -> None:
        """Nothing to read."""

    def use(self, found: Found | None) -> None:
        """Nothing to change."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    path: Path
    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at the files has found."""

    stamps: list[_Stamp]
    names: dict[Fingerprint, str | None]
    rejected: list[tuple[str, int, str]]
    """Path, line (0: the whole file) and what is wrong with it."""


class KeyFiles:
    """The keys in `paths` (files, or folders of files). Raises StartupError when a path cannot be read at first.

    What blocks on the disk is in the constructor and in `read`, for a thread; the rest is the event loop's.
    """

    keyless = False

    def __init__(self, paths: Sequence[Path], report: Report) -> None:
        self._paths = list(paths)
        self._report = report
        self._stamps: list[_Stamp] = []
        self._names: dict[Fingerprint, str | None] = {}
        for path in self._paths:
            if not path.exists():
                raise StartupError(f"access.keys: {path} does not exist: make the file or folder, or correct the path")
            if not os.access(path, os.R_OK):
                raise StartupError(f"access.keys: {path} cannot be read by this user: chmod or chown it")
        self._first = self.read()
        """What is to be told yet."""
        if self._first is not None:
            self._stamps, self._names = self._first.stamps, self._first.names

    def key_name(self, fingerprint: Fingerprint) -> tuple[bool, str | None]:
        if fingerprint in self._names:
            return True, self._names[fingerprint]
        return False, None

    def __len__(self) -> int:
        return len(self._names)

    def read(self) -> Found | None:
        """What the files hold, if one was changed, added or removed. A file that cannot be read grants nothing."""
        stamps = self._look()
        if stamps == self._stamps:
            return None
        found = Found(stamps, {}, [])
        for stamp in stamps:
            try:
                text = stamp.path.read_text("utf-8", "replace") if stamp.size <= KEY_FILE_BYTES else ""
            except OSError as error:
                found.rejected.append((str(stamp.path), 0, str(error)))
                continue
            keys, bad = parse_file(text)
            found.rejected.extend((str(stamp.path), line.number, line.detail) for line in bad)
            found.names.update((key.fingerprint, key.name) for key in keys)
        return found

    def use(self, found: Found | None) -> None:
        """From now on what `read` has found is what counts; None changes nothing. Tells what was found at first, too."""
        first, self._first = self._first, None
        for one in (first, found):
            if one is not None:
                self._stamps, self._names = one.stamps, one.names
                for path, line, error in one.rejected:
                    self._report("keys.rejected", path=path, line=line, error=error)
                self._report("keys.loaded", keys=len(one.names), files=len(one.stamps))

    def _look(self) -> list[_Stamp]:
        stamps: list[_Stamp] = []
        for path in self._paths:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            for file in files:
                if file.name.startswith(".") or file.name.endswith("~"):
                    continue
                try:
                    status = file.stat()
                except OSError:
                    continue
                if file.is_file():
                    stamps.append(_Stamp(file, status.st_mtime_ns, status.st_size))
        return stamps
