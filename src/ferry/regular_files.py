"""Reads files that another account may put something else in place of, at any moment.

To open a pipe waits for its other end, and to open a device may do anything. So a look before the opening is not enough:
the file that was opened has to be a regular one (as sshd, auth2-pubkeyfile.c, auth_openfile).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

NOT_A_FILE: Final = "it is not a file, and is not read: put keys into files, or into files of one folder"
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def read_regular(path: Path, most: int) -> bytes:
    """The first `most` bytes of a file. Raises OSError, also for what is no regular file. Waits for the disk alone."""
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(NOT_A_FILE)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(descriptor)
