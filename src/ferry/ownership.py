"""Works in the folders of another user with that user's rights alone.

Root runs `ferry backup`, `restore` and `allow` beside a gateway that has a user of its own. That user may put links and
pipes into its folders, or exchange a folder for a link, at any moment. Who acts with that user's rights can be led only
to what that user reaches anyway, whatever changes after a look.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = 0
_NOBODY: Final = 65534
_LINKS: Final = 40  # the most links on the way to a file, as Linux has it (path_resolution(7))


def other_owner(path: Path) -> int | None:
    """The owner of what is at `path`, or of the folder in which it is missing; of a link on the way, if another user made
    it. None if that is root, or if this process is not root's and has no rights to give up."""
    owner = ROOT
    for step in _way(path):
        owner = step.st_uid
        if owner != ROOT and stat.S_ISLNK(step.st_mode):
            break
    return None if owner == ROOT else owner


def other_owner_on_the_way(path: Path) -> int | None:
    """The first user but root who owns a folder or a link on the way to `path`, and so decides what is there. None as in
    `other_owner`."""
    return next((step.st_uid for step in _way(path) if step.st_uid != ROOT), None)


def _way(path: Path) -> Iterator[os.stat_result]:
    """The folders and links on the way to `path`, and what is there, as far as they exist. Nothing if this process is not
    root's."""
    here, links = Path("/"), 0
    left = list(path.absolute().parts[1:]) if os.geteuid() == ROOT else []
    while left and links <= _LINKS:
        part = left.pop(0)
        step = here.parent if part == ".." else here / part
        try:
            found = step.lstat()
        except OSError:
            return
        yield found
        if not stat.S_ISLNK(found.st_mode):
            here = step
            continue
        links += 1
        target = step.readlink()
        left[:0] = target.parts[1:] if target.is_absolute() else target.parts
        here = Path("/") if target.is_absolute() else here


@contextmanager
def rights_of(owner: int | None) -> Iterator[None]:
    """While it lasts, this process, which is root's, has the rights of `owner` and no others. None changes nothing. The
    rights are those of all threads. Raises OSError."""
    if owner is None:
        yield
        return
    try:
        account = pwd.getpwuid(owner)
        group, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        group, groups = _NOBODY, [_NOBODY]
    before, groups_before = os.getegid(), os.getgroups()
    try:
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(owner)
        yield
    finally:
        os.seteuid(ROOT)
        os.setegid(before)
        os.setgroups(groups_before)


def user_name(user: int) -> str:
    """The name of a user; its number if it has none."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
