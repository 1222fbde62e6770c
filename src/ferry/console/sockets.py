"""The control socket's file, which only the gateway's own user may open."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from ferry.errors import StartupError
from ferry.names import Endpoint

CONTROL_SOCKET: Final = "control.sock"
_TAKES_NO_WRITES: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class NotNow(StartupError):
    """The disk takes no new file now. The gateway serves visitors without its control socket until it does."""


def prepare_state_folder(state: Path) -> None:
    """Make the state folder with mode 0700, or check its mode. Raises StartupError with the command to type.

    An existing folder is never changed: with `--state .` or `--state /tmp` it belongs to others.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        too_open = why_too_open(state)
    except OSError as error:
        raise StartupError(
            f"the state folder {state} cannot be made: {error.strerror}: name another with --state, or state in the file"
        ) from None
    if too_open:
        raise StartupError(too_open)


def why_too_open(state: Path) -> str | None:
    """Why a gateway refuses this folder, with the command to type; None if it is for its owner alone. Raises OSError."""
    mode = stat.S_IMODE(state.stat().st_mode)
    if not mode & 0o077:
        return None
    return (
        f"the state folder {state} is open to other users (mode {mode:o}) and is to hold host keys: "
        f"type chmod 700 {state}, or name another folder"
    )


def bind_control(state: Path) -> socket.socket:
    """Bind `<state>/control.sock` (0600). It replaces a socket that a dead gateway left.

    Raises StartupError if a live gateway answers there or the folder cannot be used, and NotNow if a later try may succeed.
    """
    prepare_state_folder(state)
    try:
        folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StartupError(f"the state folder {state} cannot be used: {error.strerror}") from None
    try:
        return _bind(state, _short_path(folder))
    except OSError as error:
        kind = NotNow if error.errno in _TAKES_NO_WRITES else StartupError
        raise kind(f"{state / CONTROL_SOCKET} cannot be made: {error.strerror}") from None
    finally:
        os.close(folder)


def unlink_control(state: Path, bound: os.stat_result) -> None:
    """Remove the socket's file, unless another gateway has replaced it (`bound`: the file that we made)."""
    path = state / CONTROL_SOCKET
    try:
        now = path.stat()
        if (now.st_dev, now.st_ino) == (bound.st_dev, bound.st_ino):
            path.unlink()
    except OSError:
        pass  # gone already


def bind_loopback(endpoint: Endpoint) -> socket.socket:
    """A bound TCP socket. Raises StartupError naming the setting."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((endpoint.host, endpoint.port))
    except OSError as error:
        listener.close()
        raise StartupError(
            f"admin.listen: {endpoint} cannot be listened on ({error.strerror}): "
            f"write another port, or admin.listen = [] to go without"
        ) from None
    return listener


def _short_path(folder: int) -> str:
    """The socket's path by way of its folder's descriptor: a Unix socket's own ends at 107 bytes (unix(7))."""
    return f"/proc/self/fd/{folder}/{CONTROL_SOCKET}"


def _bind(state: Path, path: str) -> socket.socket:
    if _answers(path):
        raise StartupError(
            f"a gateway runs already with the state folder {state}: stop it, or give this one another folder (--state)"
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        Path(path).unlink(missing_ok=True)
        listener.bind(path)
        Path(path).chmod(0o600)  # before `listen`, so that no connection came in under another mode
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: str) -> bool:
    """Whether a process accepts connections there. A full accept queue (EAGAIN) counts as one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except OSError as error:
            return error.errno in (errno.EAGAIN, errno.EACCES)
    return True
