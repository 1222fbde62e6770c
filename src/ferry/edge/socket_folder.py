"""Unix sockets in the folders of identities: `FOLDER/IDENTITY/NAME`.

No step follows a symbolic link: each folder is opened below the one before it, with O_NOFOLLOW (openat(2)), and a socket is
bound and removed by its folder's descriptor. What is removed is a socket that this process has bound, or, where the operator
allows it (`StreamLocalBindUnlink`), one of this user on which nobody listens.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from ferry import limits

_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o600  # as sshd (StreamLocalBindMask 0177)


class InTheWay(Exception):
    """Something stands at the path that may not be removed. The message says what, for people."""


@dataclass(slots=True)
class BoundSocket:
    """A listening socket, and the file that it has made."""

    sock: socket.socket
    root: str
    folder: str
    name: str
    made: tuple[int, int]
    """The device and the inode of the file."""

    def unlink(self) -> None:
        """Remove the file, if it is still that of this socket."""
        with suppress(OSError), opened(self.root, self.folder) as folder:
            if _identity(os.stat(self.name, dir_fd=folder, follow_symlinks=False)) == self.made:
                os.unlink(self.name, dir_fd=folder)


@contextmanager
def opened(root: str, folder: str, *, make: bool = False) -> Iterator[int]:
    """A descriptor of `folder` in `root`. Raises OSError: ELOOP or ENOTDIR for a symbolic link, EACCES for a folder of
    another user, or one in which others may write."""
    above = os.open(root, _FOLDER)
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(folder, 0o700, dir_fd=above)
        below = os.open(folder, _FOLDER, dir_fd=above)
    finally:
        os.close(above)
    try:
        found = os.fstat(below)
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(errno.EACCES, "it belongs to another user, or others may write in it")
        yield below
    finally:
        os.close(below)


def bind(root: str, folder: str, name: str, *, unlink: bool) -> BoundSocket:
    """A non-blocking listening socket at `root/folder/name`, for this user alone. `unlink`: a socket of this user that
    nobody listens on gives way. Raises InTheWay or OSError."""
    with opened(root, folder, make=True) as below:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            os.fchmod(sock.fileno(), _MODE)  # bind(2) gives this mode to the file
            path = f"/proc/self/fd/{below}/{name}"
            try:
                sock.bind(path)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _check_free(below, name, unlink=unlink)
                os.unlink(name, dir_fd=below)
                sock.bind(path)
            made = _identity(os.stat(name, dir_fd=below, follow_symlinks=False))
            sock.listen(limits.ACCEPT_BACKLOG)
        except BaseException:
            sock.close()
            raise
        return BoundSocket(sock, root, folder, name, made)


def check(root: str, folder: str, name: str, *, unlink: bool) -> None:
    """Raise what `bind` would raise, InTheWay or OSError. It makes and removes nothing."""
    os.close(os.open(root, _FOLDER))
    with suppress(FileNotFoundError), opened(root, folder) as below:  # a missing folder is made, and is empty then
        _check_free(below, name, unlink=unlink)


def connect(root: str, folder: str, name: str) -> socket.socket:
    """A non-blocking socket that is connected to the one at `root/folder/name`. Raises OSError: ENOTSOCK for what is no
    socket, a symbolic link too."""
    with opened(root, folder) as below:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=below)
        try:
            if not stat.S_ISSOCK(os.fstat(found).st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.connect(f"/proc/self/fd/{found}")  # that very file, whatever stands at its name now
            except BaseException:
                sock.close()
                raise
            return sock
        finally:
            os.close(found)


def _check_free(folder: int, name: str, *, unlink: bool) -> None:
    """Raise InTheWay unless a socket that nobody listens on stands there; FileNotFoundError if nothing does."""
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise InTheWay("something that is no socket of the gateway stands there")
    if not unlink:
        raise InTheWay("a socket stands there already (the operator may set streamlocal_bind_unlink)")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"/proc/self/fd/{folder}/{name}")
        except ConnectionRefusedError:
            pass
        except BlockingIOError:
            raise InTheWay("another program listens there") from None
        else:
            raise InTheWay("another program listens there")


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
