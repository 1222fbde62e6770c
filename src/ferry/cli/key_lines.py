"""Reads the lines of key files, and changes them: each file is replaced as a whole, or stays as it is.

A file may be in a folder of another user, who may put a link there at any moment. So root works there with that user's
rights alone (`ferry.ownership`), and a link in the place of the file itself is refused.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ferry import limits
from ferry.errors import FerryError, InvalidInput
from ferry.ownership import other_owner_on_the_way, rights_of, user_name
from ferry.policy.shut_lines import unnamed_keys
from ferry.protocol.authorized_keys import AuthorizedKey, ShutKey, parse_line, shut_key
from ferry.protocol.key_edits import edited, enabled_line, is_disabled
from ferry.protocol.key_paths import AccessPaths
from ferry.regular_files import open_regular, read_regular
from ferry.ssh.access_lines import NAME_OF_ANOTHER
from ferry.ssh.key_files import Rejected, Stamp, listing_of
from ferry.this_host import THIS_HOST

_MODE: Final = 0o644  # of a new file: the user of the service must be able to read it, and public keys are no secret

LOCK_TRIES = 200  # to lock a folder that another program has locked
_LOCK_AGAIN: Final = 0.05  # seconds between two tries


class FileLine(NamedTuple):
    """A line with a key."""

    path: Path
    number: int
    """From 1."""
    text: str
    """As it stands in the file."""
    disabled: bool
    key: AuthorizedKey
    name: str | None
    """The name of the identity."""
    user: str | None
    """The only login name for which it counts."""

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.number}"


class Mistaken(NamedTuple):
    """A line with a mistake, which lets nobody in."""

    path: Path
    number: int
    """From 1."""
    text: str
    """As it stands in the file."""
    why: str
    """The mistake, with what to write."""
    key: ShutKey | None
    """None: no key can be read in it."""
    name: str | None
    """The name of the identity that it would have."""
    user: str | None
    """The only login name for which it would count."""

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.number}"


def lines_in(
    paths: Sequence[Path], mistakes: list[Mistaken] | None = None, passed: list[Rejected] | None = None
) -> list[FileLine]:
    """The lines with keys in the files of `access.keys`, those that are out of force too. Those with mistakes are added to
    `mistakes`, and what stands in a folder and can have no lines, such as another folder, to `passed`. Raises FerryError if
    a file cannot be read."""
    found: list[FileLine] = []
    for path in paths:
        with _rights(path):
            listing = listing_of(AccessPaths((path,)))
            bad = next((each for each in listing.rejected if each.path == path or _may_have_lines(each)), None)
        if bad is not None:
            raise FerryError(
                f"{bad.path} cannot be read ({bad.why}): make it, correct access.keys, or run this with sudo"
            )
        if passed is not None:
            passed += listing.rejected
        for stamp in listing.stamps:
            try:
                with _rights(stamp.path):
                    text = _decoded(read_regular(stamp.path, limits.KEY_FILE_BYTES))
            except OSError as error:
                raise _unreadable(stamp.path, error) from None
            _add_lines(stamp, text, found, [] if mistakes is None else mistakes)
    return found


def _may_have_lines(rejected: Rejected) -> bool:
    """Whether another user could read what this one cannot: no folder or pipe, and no link that leads nowhere."""
    return rejected.unread and not (rejected.path.is_symlink() and not rejected.path.exists())


def _add_lines(stamp: Stamp, text: str, found: list[FileLine], mistakes: list[Mistaken]) -> None:
    """Add the lines of one file to `found` and `mistakes`."""
    keys: list[tuple[int, str, AuthorizedKey]] = []
    bad: list[tuple[int, str, str, ShutKey | None]] = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            key = _key_of(line)
        except InvalidInput as error:
            bad.append((number, line, str(error), shut_key(line)))
            continue
        if key is not None and key.name is not None and stamp.user is not None:
            bad.append((number, line, NAME_OF_ANOTHER, ShutKey(key.algorithm, key.fingerprint)))
        elif key is not None:
            keys.append((number, line, key))
    shut = [key for _, _, _, key in bad if key is not None]
    name = stamp.name_for(len(unnamed_keys((key for _, _, key in keys), shut)))
    found += [
        FileLine(stamp.path, number, line, is_disabled(line), key, key.name or name, stamp.user)
        for number, line, key in keys
    ]
    mistakes += [
        Mistaken(stamp.path, number, line, why, key, (key.name if key else None) or name, stamp.user)
        for number, line, why, key in bad
    ]


def _key_of(line: str) -> AuthorizedKey | None:
    body = (enabled_line(line) if is_disabled(line) else line).strip(" \t\r")
    if not body or body.startswith("#"):
        return None
    return parse_line(body, THIS_HOST)


def change_lines(path: Path, changes: Mapping[int, tuple[str, str | None]]) -> None:
    """Change lines of a file (`protocol.key_edits.edited`). Raises FerryError, with the file as it was."""
    rewrite(path, lambda text: edited(text, changes))


def rewrite(path: Path, edit: Callable[[str], str], *, make: bool = False) -> None:
    """Put `edit` of a file's text in its place, at once and for good (fsync). Owner and mode stay. With `make` a missing
    file is made. Raises FerryError, with the file as it was."""
    try:
        with _rights(path), _alone(path.parent):
            before = _read(path, make=make)
            text = edit("" if before is None else before[0])
            if len(text.encode("utf-8", "surrogateescape")) > limits.KEY_FILE_BYTES:
                raise FerryError(
                    f"{path} would be larger than {limits.KEY_FILE_BYTES // limits.MIB} MiB, so that none of its keys "
                    "counts: name a folder in access.keys, and spread them over its files"
                )
            _put(path, text, None if before is None else before[1])
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FerryError(f"{path} is a symbolic link: write the file itself into access.keys") from None
        owner = other_owner_on_the_way(path)
        whose = "" if owner is None else f" by {user_name(owner)}, whose folder it is"
        raise FerryError(f"{path} cannot be written{whose}: {error.strerror}") from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other command of ours changes a file of the folder meanwhile."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(lock, folder)
        yield
        os.fsync(lock)  # a renamed file is there after a crash, too
    finally:
        os.close(lock)


def _lock(descriptor: int, folder: Path) -> None:
    """Whoever may read the folder can lock it too, and must not keep the operator from taking a key out. Raises FerryError."""
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_AGAIN)
        else:
            return
    seconds = LOCK_TRIES * _LOCK_AGAIN
    raise FerryError(
        f"another program has had a lock on {folder} for {seconds:.0f} s: `lslocks` names it. End it first"
    )


def _read(path: Path, *, make: bool) -> tuple[str, os.stat_result] | None:
    try:
        descriptor = open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        if make:
            return None
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if found.st_size > limits.KEY_FILE_BYTES:
            raise FerryError(
                f"{path} is larger than {limits.KEY_FILE_BYTES // limits.MIB} MiB, so none of its keys counts"
            )
        return _decoded(file.read()), found


def _put(path: Path, text: str, like: os.stat_result | None) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # hidden: no file of keys
    try:
        with os.fdopen(descriptor, "wb") as file:
            if like is not None:
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, _MODE if like is None else stat.S_IMODE(like.st_mode))
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


@contextmanager
def _rights(path: Path) -> Iterator[None]:
    """The rights of who decides what is at `path`."""
    with rights_of(other_owner_on_the_way(path)):
        yield


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _unreadable(path: Path, error: OSError) -> FerryError:
    return FerryError(f"{path} cannot be read: {error.strerror or error}: run this with sudo, or as the gateway's user")
