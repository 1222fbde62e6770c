"""The audit log as a file of JSON lines, to be carried elsewhere. Everything here blocks on the disk."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ferry import limits
from ferry.protocol.audit import Entry

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_MODE: Final = 0o600


class AuditFile:
    """One file, to which lines are appended. Whoever rotates it moves it away, and asks for `reopen`."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises OSError, also for what is no regular file."""
        self.path = path
        self._descriptor = _opened(path)

    def reopen(self) -> None:
        """Open what has that name now, and let go of what had it before. Raises OSError: then it writes on where it did."""
        new = _opened(self.path)
        os.close(self._descriptor)
        self._descriptor = new

    def last_seq(self, otherwise: int) -> int:
        """The number of the last whole record in it; `otherwise` if it has none. It ends a line that was torn by a crash. Raises
        OSError."""
        size = os.fstat(self._descriptor).st_size
        tail = os.pread(self._descriptor, limits.AUDIT_LINE_BYTES * 2, max(0, size - limits.AUDIT_LINE_BYTES * 2))
        if tail and not tail.endswith(b"\n"):
            self._write(b"\n")
        for line in reversed(tail.splitlines()):
            try:
                seq = json.loads(line)["seq"]
            except (ValueError, KeyError, TypeError):
                continue
            if isinstance(seq, int):
                return seq
        return otherwise

    def append(self, entries: Iterable[Entry]) -> None:
        """Write records. Raises OSError: then some of them, or a part of one, may be there."""
        self._write("".join(f"{entry.line}\n" for entry in entries).encode("ascii"))

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]


def _opened(path: Path) -> int:
    descriptor = os.open(path, _FLAGS, _MODE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a file: name one for audit.file")
    return descriptor
