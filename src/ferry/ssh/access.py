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

    def refresh(self) -> None:
        """Nothing to read."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    path: Path
    mtime_ns: int
    size: int


class KeyFiles:
    """The keys in `paths` (files, or folders of files). Raises StartupError when a path cannot be read at first."""

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
        self.refresh()

    def key_name(self, fingerprint: Fingerprint) -> tuple[bool, str | None]:
        if fingerprint in self._names:
            return True, self._names[fingerprint]
        return False, None

    def __len__(self) -> int:
        return len(self._names)

    def refresh(self) -> None:
        """Read the files again if one was changed, added or removed. A file that cannot be read grants nothing."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        names: dict[Fingerprint, str | None] = {}
        for stamp in stamps:
            try:
                text = stamp.path.read_text("utf-8", "replace") if stamp.size <= KEY_FILE_BYTES else ""
            except OSError as error:
                self._report("keys.rejected", path=str(stamp.path), line=0, error=str(error))
                continue
            keys, bad = parse_file(text)
            for line in bad:
                self._report("keys.rejected", path=str(stamp.path), line=line.number, error=line.why)
            names |= {key.fingerprint: key.name for key in keys}
        self._names = names
        self._report("keys.loaded", keys=len(names), files=len(stamps))

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
