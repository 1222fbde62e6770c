"""Says who else could write a file of keys: `StrictModes` of sshd_config(5), as in misc.c of OpenSSH (safe_path).

A file, and each folder on the way to it, has to belong to root, to the gateway's user, or to the account of the login name
for which it counts (`%u`), and nobody else may write there. As in sshd, what is above the home of that account does not
matter. Here, unlike in sshd, a group whose members are all of these may write, and a folder with the sticky bit counts as
safe: nobody can exchange what another one has there (inode(7)).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from ferry.ownership import ROOT, user_name

_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


class Step(NamedTuple):
    """A file, or a folder on the way to it, as it stands on the disk."""

    path: Path
    """Without links."""
    owner: int
    group: int
    mode: int
    """With the kind of file (`st_mode`)."""

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def others_write(self) -> bool:
        """Whether more users than the owner may write, as far as the mode says."""
        return bool(self.mode & _WRITABLE) and not (self.is_folder and self.mode & stat.S_ISVTX)


class Objection(NamedTuple):
    """Why a file of keys does not count."""

    path: Path
    """The file, or the folder that is to blame, as far as it is on the way as it is named."""
    why: str
    """With what to do."""


class _Folder(NamedTuple):
    """A folder on the way to a file."""

    real: Path
    """Without links."""
    doubtful: tuple[Step, ...]
    """It and those above it, as far as another user than the trusted ones could write there. The nearest is the first."""


@dataclass(slots=True)
class Writers:
    """One look at files of keys. It remembers folders and groups, and so is not to be kept."""

    trusted: frozenset[int]
    """The user ids that may write all files of keys."""
    _folders: dict[Path, _Folder] = field(default_factory=dict)
    """By their paths as they are named, and without links."""
    _members: dict[int, frozenset[int]] = field(default_factory=dict)

    def objection(self, path: Path, of: os.stat_result, user: str | None, *, is_link: bool) -> Objection | None:
        """Why the file at `path` does not count; None if it does. `of` is the file, also where a link (`is_link`) leads to
        it; `user` the login name for which it is. Raises OSError. Blocks."""
        named = path.resolve(strict=True) if is_link else path.absolute()
        folder = self._folder(named.parent)
        is_safe = of.st_uid in self.trusted and not of.st_mode & _WRITABLE
        if is_safe and not folder.doubtful:
            return None
        step = Step(folder.real / named.name, of.st_uid, of.st_gid, of.st_mode)
        doubtful = (step, *folder.doubtful) if self._is_doubtful(step, self.trusted) else folder.doubtful
        account, trusted = _account(user), self.trusted
        if account is not None:
            home, trusted = Path(account.pw_dir).resolve(), trusted | {account.pw_uid}
            above = home.parents if home in step.path.parents else ()
            doubtful = tuple(each for each in doubtful if self._is_doubtful(each, trusted) and each.path not in above)
        return _told(doubtful[0], path, trusted, account) if doubtful else None

    def _folder(self, path: Path) -> _Folder:
        if (found := self._folders.get(path)) is not None:
            return found
        of = path.lstat()
        if stat.S_ISLNK(of.st_mode) or os.pardir in path.parts:
            real = path.resolve(strict=True)
            if real == path:  # it has become a link in this very moment
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            found = self._folder(real)
        else:
            above = _Folder(path, ()) if path.parent == path else self._folder(path.parent)
            step = Step(above.real / path.name, of.st_uid, of.st_gid, of.st_mode)
            own = (step,) if self._is_doubtful(step, self.trusted) else ()
            found = _Folder(step.path, own + above.doubtful)
        self._folders[path] = found
        return found

    def _is_doubtful(self, step: Step, trusted: frozenset[int]) -> bool:
        if step.owner not in trusted:
            return True
        return step.others_write() and (bool(step.mode & stat.S_IWOTH) or not self._members_of(step.group) <= trusted)

    def _members_of(self, group: int) -> frozenset[int]:
        """The users of a group: those for whom it is the first one too. One without a user has the user id -1."""
        found = self._members.get(group)
        if found is None:
            of_group = {each.pw_uid for each in pwd.getpwall() if each.pw_gid == group}
            with suppress(KeyError):
                named = map(_account, grp.getgrgid(group).gr_mem)
                of_group |= {-1 if account is None else account.pw_uid for account in named}
            found = self._members[group] = frozenset(of_group or {-1})
        return found


def _told(step: Step, path: Path, trusted: frozenset[int], account: pwd.struct_passwd | None) -> Objection:
    """The objection to one step on the way to the file at `path`. `account` is that of the login name."""
    fixes = [f"chmod go-w {step.path}"] if step.others_write() else []
    if step.owner not in trusted:
        own = max(trusted) if account is None else account.pw_uid
        fixes.insert(0, f"chown {user_name(own)} {step.path}")
    what = f"the folder {step.path}" if step.is_folder else "it"
    blamed = step.path if step.path in path.parents else path.parent
    may = " and ".join(user_name(each) for each in sorted(trusted))
    return Objection(
        blamed if step.is_folder else path,
        f"{what} belongs to {user_name(step.owner)} and has the mode {stat.S_IMODE(step.mode):04o}, so that others than {may} "
        f"could write keys there, and no key in it counts: {' and '.join(fixes)}, or write "
        "strict_modes = false in [sshd]",
    )


def writers_beside(state: Path) -> Writers:
    """A new look. The owner of the state folder is the gateway's user, whoever runs the command that looks."""
    try:
        gateway = state.stat().st_uid
    except OSError:  # there is none yet
        gateway = os.geteuid()
    return Writers(frozenset({ROOT, gateway}))


def _account(name: str | None) -> pwd.struct_passwd | None:
    try:
        return None if name is None else pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
