"""What a user may see of a path: this one, and another before a service runs as that user."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether `path` exists, as far as this user sees: False below a folder that it may not search (path_resolution(7))."""
    try:
        return path.exists()
    except PermissionError:
        return False


@dataclass(frozen=True, slots=True)
class Account:
    """A user by its numbers. `uid` is -1 for a user that does not exist yet: it may read only what everybody may."""

    name: str
    uid: int
    groups: frozenset[int]

    @property
    def exists(self) -> bool:
        """Whether the system has this user."""
        return self.uid >= 0


def account(name: str) -> Account:
    """The system's user `name`."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return Account(name, -1, frozenset())
    return Account(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))


def unreadable(path: Path, who: Account) -> str | None:
    """Why `who` cannot read `path` (a file, or a folder with its contents), with the path that is closed. None if it can.

    It checks permission bits, not access control lists.
    """
    if not path.exists():
        return f"{path} does not exist"
    wanted = {path.absolute(), path.resolve()}  # a symbolic link's own folders must be open too
    for target in sorted(wanted):
        for folder in reversed(target.parents):
            if not _has_permission(folder, who, stat.S_IXOTH):
                return f"{path}: user {who.name} cannot enter {folder}"
    if path.is_dir():
        if not _has_permission(path, who, stat.S_IXOTH | stat.S_IROTH):
            return f"{path}: user {who.name} cannot list it"
        inner = (unreadable(entry, who) for entry in sorted(path.iterdir()) if not entry.name.startswith("."))
        return next((reason for reason in inner if reason), None)
    if not _has_permission(path, who, stat.S_IROTH):
        return f"{path}: user {who.name} cannot read it"
    return None


def _has_permission(path: Path, who: Account, bits: int) -> bool:
    """Whether `who` has `bits` of others (S_IROTH …), shifted to the class of `who` by the kernel's rules."""
    if who.uid == 0:
        return True
    status = path.stat()
    shift = 6 if status.st_uid == who.uid else 3 if status.st_gid in who.groups else 0
    return (status.st_mode >> shift) & bits == bits
