"""Backups of a state folder: one file with the database, the host keys and the local CA.

The file is a compressed tar archive, so that an operator can look into it. Its first member, a JSON object, says which
version wrote it. A backup is taken while the gateway serves; a restore needs a stopped one.

Root does both in the folder of the user who runs the gateway. That user may have put links there, to files that it may
not read itself. So the folder is used with its owner's rights (`ferry.ownership`), the backup's file with root's, and a
link is refused.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from ferry import __version__, limits
from ferry.clock import Clock
from ferry.console.sockets import prepare_state_folder
from ferry.errors import FerryError, InvalidInput
from ferry.names import printable
from ferry.ownership import other_owner, rights_of, user_name
from ferry.regular_files import NotAFile, open_regular
from ferry.store.backup import check_copy, check_revision, copy_database, note_restore, open_snapshot

from .auditing import act_record
from .kept import DATABASE, locked

FORMAT: Final = 1
MANIFEST: Final = "ferry-backup.json"
CA: Final = "ca"
_SECRET = re.compile(r"ssh_host_[a-z0-9]+_key(\.pub|\.next|-cert\.pub)?|ca/[A-Za-z0-9._-]+\.(crt|key)")
"""The files of a state folder beside the database."""
_OF_DATABASE: Final = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
"""SQLite would put the logs of another database into the restored one."""
_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup file holds."""

    file: Path
    state: Path
    version: str
    """Of the Ferry that wrote it."""
    made: str
    """RFC 3339."""
    files: tuple[str, ...]
    size: int
    """Bytes of the file."""


def back_up(state: Path, file: Path, *, clock: Clock, force: bool) -> Backup:
    """Write the state folder's data to `file` (0600), all of it or nothing. Raises FerryError: InvalidInput for a link."""
    if file.exists() and not force:
        raise InvalidInput(f"{file} exists: name another file, or replace it with --force")
    made = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with ExitStack() as stack:
        secrets = stack.enter_context(_secrets(state))
        work = _work_folder(file, stack)
        try:
            copy = work / DATABASE
            revision = _copied(state, copy)
            members: dict[str, BinaryIO] = {DATABASE: stack.enter_context(copy.open("rb")), **secrets}
            manifest = {
                "format": FORMAT,
                "ferry": __version__,
                "schema": revision,
                "made": made,
                "files": list(members),
            }
            partial = work / "archive"
            _write(partial, manifest, members)
            size = partial.stat().st_size
            partial.replace(file)
        except OSError as error:
            raise FerryError(f"{file} cannot be written: {error.strerror}: make room, or name another file") from error
    return Backup(file, state, __version__, made, tuple(members), size)


def _work_folder(file: Path, stack: ExitStack) -> Path:
    """A folder beside `file`, for the time of `stack`."""
    parent = file.absolute().parent
    try:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=parent))
    except OSError as error:
        fix = "make room, or name another file" if parent.is_dir() else f"make the folder {file.parent}"
        raise FerryError(f"{file} cannot be written: {error.strerror}: {fix}") from error
    return Path(work)


def _copied(state: Path, copy: Path) -> str:
    """Copy the database. SQLite opens its files, and deletes its logs, by their names."""
    owner = other_owner(state)
    with rights_of(owner):
        source = open_snapshot(state / DATABASE)
    try:
        return copy_database(source, state / DATABASE, copy)
    finally:
        with rights_of(owner):
            source.close()


@contextmanager
def _secrets(state: Path) -> Iterator[Mapping[str, BinaryIO]]:
    """The files beside the database, by their names, opened with the rights of the folder's owner. Raises FerryError:
    InvalidInput if there is a link among them, or on the way to one."""
    with ExitStack() as stack:
        owner = other_owner(state)
        try:
            with rights_of(owner):
                os.close(_plain(state, DATABASE))
                _refuse_links(state, _OF_DATABASE)
                found = {name: stack.enter_context(os.fdopen(_plain(state, name), "rb")) for name in _names(state)}
        except FileNotFoundError as error:
            raise FerryError(f"{error.filename} is not there: name the gateway's state folder with --state") from None
        except OSError as error:
            why = f"{error.filename or state} cannot be read{_rights(owner)}: {error.strerror}"
            raise FerryError(f"{why}: {_fix(error, 'name the state folder with --state')}") from None
        yield found


def _rights(owner: int | None) -> str:
    """For an error: whose rights were used, if it was not this user's own."""
    return "" if owner is None else f" with the rights of {user_name(owner)}, whose folder it is"


def _fix(error: OSError, otherwise: str) -> str:
    return "run this with sudo, or as the gateway's user" if isinstance(error, PermissionError) else otherwise


def _names(state: Path) -> list[str]:
    """The names of the secrets in the folder. Raises OSError, and InvalidInput if `ca` is a link."""
    _refuse_links(state, [CA])
    names = [path.name for path in state.iterdir()]
    if CA in names:
        names += [f"{CA}/{path.name}" for path in (state / CA).iterdir()]
    return sorted(name for name in names if _SECRET.fullmatch(name))


def _plain(state: Path, name: str) -> int:
    """A descriptor to read a file of the folder. Raises OSError, and InvalidInput if it is a link, a pipe or the like."""
    path = state / name
    try:
        return open_regular(path, os.O_RDONLY | os.O_NOFOLLOW)
    except NotAFile:
        raise InvalidInput(f"{path} is not a file: a gateway's state has files there: move it away") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _is_link(path) from None
        raise


def _refuse_links(state: Path, names: Iterable[str]) -> None:
    for name in names:
        if (state / name).is_symlink():
            raise _is_link(state / name)


def _is_link(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path} is a symbolic link, which may lead to files of others: put the file itself there, or delete the link"
    )


def _write(partial: Path, manifest: dict[str, object], members: Mapping[str, BinaryIO]) -> None:
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            text = json.dumps(manifest, indent=2).encode()
            archive.addfile(_entry(MANIFEST, len(text), 0), io.BytesIO(text))
            for name, content in members.items():
                found = os.fstat(content.fileno())
                archive.addfile(_entry(name, found.st_size, found.st_mtime), content)
        raw.flush()
        os.fsync(raw.fileno())


def _entry(name: str, size: int, changed: float) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, _FILE_MODE, int(changed)
    return entry


def restore(file: Path, state: Path, *, clock: Clock, force: bool) -> Backup:
    """Put the data of a backup into the state folder of a stopped gateway. A backup that cannot be used changes nothing.
    With `force` the data that are there are moved into a folder beside them. Raises FerryError: InvalidInput, and
    StartupError if a gateway runs there. What it makes belongs to the folder's owner."""
    try:
        source = os.fdopen(open_regular(file, os.O_RDONLY), "rb")
    except (FileNotFoundError, NotAFile) as error:
        wrong = "does not exist" if isinstance(error, FileNotFoundError) else "is not a file"
        raise InvalidInput(f"{file} {wrong}: name a file that `ferry backup` has written") from None
    except OSError as error:
        raise InvalidInput(
            f"{file} cannot be read: {error.strerror}: run this with sudo, or name another file"
        ) from None
    owner = other_owner(state)
    try:
        with source, rights_of(owner):
            return _restore(source, file, state, clock, force=force)
    except OSError as error:
        why = f"{error.filename or state} cannot be written{_rights(owner)}: {error.strerror}"
        fix = _fix(error, "make room, or name another folder with --state")
        raise FerryError(f"{why}: {fix}") from error


def _restore(source: BinaryIO, file: Path, state: Path, clock: Clock, *, force: bool) -> Backup:
    prepare_state_folder(state)
    with locked(state):
        _refuse_links(state, (*_OF_DATABASE, CA))
        names = [*_OF_DATABASE, *_names(state)]
        _refuse_links(state, names)
        there = [name for name in names if (state / name).exists()]
        if there and not force:
            raise InvalidInput(
                f"{state} has a gateway's data already: name another folder with --state, or replace the data with "
                "--force, which keeps them in a folder beside"
            )
        with tempfile.TemporaryDirectory(prefix=".restoring-", dir=state) as work:
            backup = _unpack(source, file, state, Path(work))
            check_copy(Path(work) / DATABASE)
            note_restore(Path(work) / DATABASE, act_record("restore", f"a backup of {backup.made}", clock))
            if there:
                _put_aside(state, there, datetime.fromtimestamp(clock.now(), UTC))
            for name in backup.files:
                (state / name).parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                (Path(work) / name).replace(state / name)
    return backup


def _unpack(source: BinaryIO, file: Path, state: Path, work: Path) -> Backup:
    """Unpack a backup's known files into the empty folder `work`."""
    try:
        with tarfile.open(fileobj=source, mode="r:gz") as archive:
            manifest = _manifest(archive, file)
            names = []
            for member in archive:
                if member.name == MANIFEST:
                    continue
                if not member.isfile() or not (member.name == DATABASE or _SECRET.fullmatch(member.name)):
                    raise InvalidInput(f"{file} has {printable(member.name)!r} in it, which no backup of ferry has")
                content = archive.extractfile(member)
                assert content is not None
                path = work / member.name
                path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as target:
                    shutil.copyfileobj(content, target)
                names.append(member.name)
            _check_sum(archive)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidInput(f"{file} is not a whole backup of ferry ({error}): take another one") from error
    except OSError as error:
        raise InvalidInput(f"{file} cannot be unpacked into {state}: {error.strerror or error}") from error
    if sorted(names) != sorted(manifest["files"]):
        raise InvalidInput(f"{file} is not whole: it lacks files of its own list: take another backup")
    version, made = (printable(str(manifest[key])) for key in ("ferry", "made"))
    return Backup(file, state, version, made, tuple(names), os.fstat(source.fileno()).st_size)


def _check_sum(archive: tarfile.TarFile) -> None:
    """Read to the end of the file, where gzip has its checksum: tarfile stops at the end of the last member. Raises
    BadGzipFile if a bit has changed."""
    while archive.fileobj.read(tarfile.RECORDSIZE):
        pass


def _manifest(archive: tarfile.TarFile, file: Path) -> dict[str, Any]:
    """The first member. Raises InvalidInput if it is none, or if a newer Ferry wrote it."""
    first = archive.next()
    content = archive.extractfile(first) if first and first.name == MANIFEST and first.isfile() else None
    try:
        manifest: Any = json.loads(content.read(limits.BACKUP_MANIFEST_BYTES) if content else b"null")
        keys, files = manifest.keys(), manifest["files"]
        known = keys >= {"format", "ferry", "schema", "made"} and all(isinstance(name, str) for name in files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        known = False
    if not known:
        raise InvalidInput(f"{file} is not a backup of ferry: name a file that `ferry backup` has written")
    if manifest["format"] != FORMAT:
        raise InvalidInput(
            f"{file} was written by ferry {printable(str(manifest['ferry']))}: install that version first"
        )
    check_revision(str(manifest["schema"]))
    return dict(manifest)


def _put_aside(state: Path, names: list[str], now: datetime) -> None:
    aside = state / f"replaced-{now:%Y%m%d-%H%M%S}"
    aside.mkdir(mode=_FOLDER_MODE)
    for name in names:
        (aside / name).parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        (state / name).replace(aside / name)
