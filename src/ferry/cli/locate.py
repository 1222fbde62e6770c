"""Finds the running gateway from any directory, by the state folder whose control socket answers.

If `--state`, `--config` or `$FERRY_STATE` names a folder, no other is tried: talking to the wrong gateway would be worse
than an error. Otherwise the usual folders are tried in order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ferry.errors import FerryError, InvalidInput, unreadable
from ferry.regular_files import read_text
from ferry.setup.paths import is_there

CONTROL_SOCKET: Final = "control.sock"
SYSTEM_CONFIG: Final = Path("/etc/ferry/ferry.toml")
SYSTEM_STATE: Final = Path("/var/lib/ferry")
LOCAL_STATE: Final = "ferry-data"
DATABASE: Final = "ferry.db"
CONNECT_SECONDS: Final = 2.0  # a Unix socket answers at once, unless the gateway's accept queue is full


@dataclass(frozen=True, slots=True)
class StateFolder:
    """A state folder to try, and why."""

    state: Path
    because: str
    config: Path | None = None
    """The configuration file that names it."""


def candidate_folders(
    explicit: Path | None, environ: Mapping[str, str], *, config: Path | None = None, cwd: Path | None = None
) -> list[StateFolder]:
    """The folders to try, in order. Only one if it was named."""
    here = cwd or Path.cwd()
    if explicit is not None:
        return [StateFolder(here / explicit, "--state")]
    if config is not None:
        return [StateFolder(state_of_file(here / config), f"--config {config}", here / config)]
    if named := environ.get("FERRY_STATE"):
        return [StateFolder(here / named, "$FERRY_STATE")]
    found = [StateFolder(here / LOCAL_STATE, "this folder")]
    if clone := environ.get("FERRY_CLONE"):
        found.append(StateFolder(Path(clone) / LOCAL_STATE, "the clone"))
    with contextlib.suppress(FerryError):  # not installed, or broken: `ferry check-config` explains that
        found.append(StateFolder(state_of_file(SYSTEM_CONFIG), str(SYSTEM_CONFIG), SYSTEM_CONFIG))
    found.append(StateFolder(SYSTEM_STATE, "the system's gateway"))
    first_reason: dict[Path, StateFolder] = {}
    for folder in found:
        first_reason.setdefault(folder.state, folder)
    return list(first_reason.values())


def find_installation(environ: Mapping[str, str], *, cwd: Path | None = None) -> StateFolder | None:
    """The gateway that an operator means who names none: the one that runs, else the first that has a configuration file
    or has run. None if there is none: then the built-in defaults are meant."""
    folders = candidate_folders(None, environ, cwd=cwd)
    for folder in folders:
        if answers(folder.state):
            return folder
    for folder in folders:
        if folder.config or is_there(folder.state / DATABASE):
            return folder
    # A file that cannot be read has no folder among them; whoever loads it gets the reason.
    return StateFolder(SYSTEM_STATE, str(SYSTEM_CONFIG), SYSTEM_CONFIG) if SYSTEM_CONFIG.exists() else None


def find_state(
    explicit: Path | None, environ: Mapping[str, str], *, config: Path | None = None, cwd: Path | None = None
) -> Path:
    """The state folder of the running gateway. Raises FerryError with the folders that were tried and how to name one."""
    return find_running(explicit, environ, config=config, cwd=cwd).state


def find_running(
    explicit: Path | None, environ: Mapping[str, str], *, config: Path | None = None, cwd: Path | None = None
) -> StateFolder:
    """As `find_state`, with the configuration file that named the folder."""
    looked: list[str] = []
    for folder in candidate_folders(explicit, environ, config=config, cwd=cwd):
        try:
            connect_control(folder.state).close()
        except OSError as error:
            looked.append(f"  {folder.state} ({folder.because}): {_why(error)}")
        else:
            return folder
    raise FerryError(
        "no running gateway found. Looked in\n"
        + "\n".join(looked)
        + "\nStart one with `ferry serve`, or name its folder: `--state FOLDER` or FERRY_STATE=FOLDER"
    )


def find_data(
    explicit: Path | None,
    environ: Mapping[str, str],
    *,
    config: Path | None = None,
    cwd: Path | None = None,
    needed: bool = True,
) -> Path:
    """The state folder that is meant, whether a gateway runs there or not: the named one, else that of the installation.
    If there is none, it is `ferry-data` in this folder, or with `needed` a FerryError."""
    if explicit is not None or config is not None or environ.get("FERRY_STATE"):
        return candidate_folders(explicit, environ, config=config, cwd=cwd)[0].state
    if found := find_installation(environ, cwd=cwd):
        return found.state
    if not needed:
        return (cwd or Path.cwd()) / LOCAL_STATE
    tried = "\n".join(f"  {folder.state} ({folder.because})" for folder in candidate_folders(None, environ, cwd=cwd))
    raise FerryError(f"no gateway's data found. Looked in\n{tried}\nName its folder: `--state FOLDER`")


def connect_control(state: Path) -> socket.socket:
    """A blocking connection to the gateway's control socket. Raises OSError.

    Goes through the folder's descriptor, because a Unix socket's path ends at 107 bytes and a folder's does not.
    """
    folder = os.open(state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(CONNECT_SECONDS)
    try:
        client.connect(f"/proc/self/fd/{folder}/{CONTROL_SOCKET}")
    except OSError:
        client.close()
        raise
    finally:
        os.close(folder)
    client.settimeout(None)
    return client


def answers(state: Path) -> bool:
    """Whether a gateway runs on this state folder."""
    try:
        connect_control(state).close()
    except OSError:
        return False
    return True


def is_closed(state: Path) -> bool:
    """Whether this user may not ask if a gateway runs on this state folder."""
    try:
        connect_control(state).close()
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM)
    return False


def state_of_file(path: Path) -> Path:
    """The state folder that a configuration file names. Without one it is beside the file, as for `ferry serve`.

    It reads that one key without the whole model, which keeps the commands quick.
    """
    try:
        table = tomllib.loads(read_text(path))
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}: `ferry check-config --config {path}` says what to write") from None
    state = table.get("state", LOCAL_STATE)
    if not isinstance(state, str) or not state or "\0" in state:
        raise InvalidInput(f'{path}: state must be a folder: write state = "{SYSTEM_STATE}"')
    with contextlib.suppress(RuntimeError):  # `~user` of a missing user: a file name, as in `ferry.config.file`
        return path.absolute().parent / Path(state).expanduser()
    return path.absolute().parent / state


def _why(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return f"no {CONTROL_SOCKET} there"
        case errno.ECONNREFUSED:
            return "the gateway there has stopped"
        case errno.EACCES | errno.EPERM:
            return "permission denied: try with sudo"
        case _:
            return error.strerror or str(error)
