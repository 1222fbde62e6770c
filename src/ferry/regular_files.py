"""Opens files that another account may put something else in place of, at any moment, or whose name is a pipe by mistake.

To open a pipe waits for its other end, and to open a device may do anything. So a look before the opening is not enough:
the file that was opened has to be a regular one (as sshd, auth2-pubkeyfile.c, auth_openfile).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple, Self

_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class FileStamp(NamedTuple):
    """The attributes of a file that change with its content. A program can set the time of modification, or put another
    file in its place, so the device, the inode and the time of change (ctime) are here too.

    A program may be writing a file that has changed. So key files and certificates count if their stamps are the same
    before and after the reading, and the policy file if its stamp is the same in two looks."""

    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int
    size: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Of the file that stat(2) has looked at."""
        return cls(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """Of the file at `path` now; None if it cannot be looked at. Blocks."""
        try:
            return cls.of(path.stat())
        except OSError:
            return None


class NotAFile(OSError):
    """What was opened is no regular file."""


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of a file, opened with `flags`; `mode` is for a new one (open(2)). Raises OSError: NotAFile for what is
    no regular file. Waits for the disk alone."""
    try:
        descriptor = os.open(path, flags | _FLAGS, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe that nobody reads, or a socket
            raise _not_a_file(path) from None
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise NotAFile(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise _not_a_file(path)


def _not_a_file(path: Path) -> NotAFile:
    return NotAFile(errno.EINVAL, "it is not a file", str(path))


def read_regular(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file, or all with -1. Raises OSError as `open_regular` does."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return file.read(most)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8. Raises OSError as `open_regular` does, and UnicodeDecodeError."""
    with os.fdopen(open_regular(path, os.O_RDONLY), encoding="utf-8-sig") as file:
        return file.read()


def write_text(path: Path, text: str) -> None:
    """Write a file anew, in UTF-8. Raises OSError as `open_regular` does."""
    with os.fdopen(open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as file:
        file.write(text)
