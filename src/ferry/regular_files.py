"""Opens files that another account may put something else in place of, at any moment, or whose name is a pipe by mistake.

To open a pipe waits for its other end, and to open a device may do anything. So a look before the opening is not enough:
the file that was opened has to be a regular one (as sshd, auth2-pubkeyfile.c, auth_openfile).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


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
