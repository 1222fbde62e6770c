"""Backups of a state folder: one file with the database, the host keys and the local CA.

The file is a compressed tar archive, so that an operator can look into it. Its first member, a JSON object, says which
version wrote it. A backup is taken while the gateway serves; a restore needs a stopped one.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from ferry import __version__, limits
from ferry.clock import Clock
from ferry.console.sockets import prepare_state_folder
from ferry.errors import FerryError, InvalidInput
from ferry.names import printable
from ferry.store.backup import check_copy, check_revision, copy_database

from .kept import DATABASE, locked

FORMAT: Final = 1
MANIFEST: Final = "ferry-backup.json"
SECRETS: Final = ("ssh_host_*_key", "ssh_host_*_key.pub", "ca/*.crt", "ca/*.key")
"""The files of a state folder beside the database, as glob patterns."""
_KNOWN = re.compile(r"ferry\.db|ssh_host_[a-z0-9]+_key(\.pub)?|ca/[A-Za-z0-9._-]+\.(crt|key)")
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
    """Write the state folder's data to `file` (0600), all of it or nothing. Raises FerryError."""
    if file.exists() and not force:
        raise InvalidInput(f"{file} exists: name another file, or replace it with --force")
    if not os.access(state / DATABASE, os.R_OK):
        raise FerryError(
            f"{state / DATABASE} is not there, or you may not read it: run this with sudo, or name --state"
        )
    made = datetime.fromtimestamp(clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}-", dir=file.absolute().parent) as work:
            copy = Path(work) / DATABASE
            revision = copy_database(state / DATABASE, copy)
            members = {DATABASE: copy, **{str(path.relative_to(state)): path for path in _secrets(state)}}
            manifest = {
                "format": FORMAT,
                "ferry": __version__,
                "schema": revision,
                "made": made,
                "files": list(members),
            }
            partial = Path(work) / "archive"
            _write(partial, manifest, members)
            size = partial.stat().st_size
            partial.replace(file)
    except OSError as error:
        fix = "make room, or name another file" if file.parent.is_dir() else f"make the folder {file.parent}"
        raise FerryError(f"{file} cannot be written: {error.strerror}: {fix}") from error
    return Backup(file, state, __version__, made, tuple(members), size)


def _secrets(state: Path) -> Iterator[Path]:
    for pattern in SECRETS:
        yield from (path for path in sorted(state.glob(pattern)) if path.is_file())


def _write(partial: Path, manifest: dict[str, object], members: dict[str, Path]) -> None:
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as raw:
        with tarfile.open(fileobj=raw, mode="w:gz") as archive:
            text = json.dumps(manifest, indent=2).encode()
            head = tarfile.TarInfo(MANIFEST)
            head.size, head.mode = len(text), _FILE_MODE
            archive.addfile(head, io.BytesIO(text))
            for name, path in members.items():
                entry = archive.gettarinfo(path.resolve(), name)
                entry.mode, entry.uid, entry.gid, entry.uname, entry.gname = _FILE_MODE, 0, 0, "", ""
                with path.open("rb") as content:
                    archive.addfile(entry, content)
        raw.flush()
        os.fsync(raw.fileno())


def restore(file: Path, state: Path, *, clock: Clock, force: bool) -> Backup:
    """Put the data of a backup into the state folder of a stopped gateway. A backup that cannot be used changes nothing.
    With `force` the data that are there are moved into a folder beside them. Raises FerryError: InvalidInput, and
    StartupError if a gateway runs there."""
    prepare_state_folder(state)
    with locked(state):
        names = (*_OF_DATABASE, *(str(path.relative_to(state)) for path in _secrets(state)))
        there = [name for name in names if (state / name).exists()]
        if there and not force:
            raise InvalidInput(
                f"{state} has a gateway's data already: name another folder with --state, or replace the data with "
                "--force, which keeps them in a folder beside"
            )
        try:
            with tempfile.TemporaryDirectory(prefix=".restoring-", dir=state) as work:
                backup = _unpack(file, state, Path(work))
                check_copy(Path(work) / DATABASE)
                if there:
                    _put_aside(state, there, datetime.fromtimestamp(clock.now(), UTC))
                for name in backup.files:
                    (state / name).parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                    (Path(work) / name).replace(state / name)
            _give_to_owner(state, ("lock", "ca", *backup.files))
        except OSError as error:
            raise FerryError(f"{error.filename or state} cannot be written: {error.strerror}") from error
    return backup


def _unpack(file: Path, state: Path, work: Path) -> Backup:
    """Unpack a backup's known files into the empty folder `work`."""
    try:
        with tarfile.open(file, "r:gz") as archive:
            manifest = _manifest(archive, file)
            names = []
            for member in archive:
                if member.name == MANIFEST:
                    continue
                if not member.isfile() or not _KNOWN.fullmatch(member.name):
                    raise InvalidInput(f"{file} has {printable(member.name)!r} in it, which no backup of ferry has")
                content = archive.extractfile(member)
                assert content is not None
                path = work / member.name
                path.parent.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as target:
                    shutil.copyfileobj(content, target)
                names.append(member.name)
            _check_sum(archive)
    except FileNotFoundError:
        raise InvalidInput(f"{file} does not exist") from None
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidInput(f"{file} is not a whole backup of ferry ({error}): take another one") from error
    except OSError as error:
        raise InvalidInput(f"{file} cannot be unpacked into {state}: {error.strerror or error}") from error
    if sorted(names) != sorted(manifest["files"]):
        raise InvalidInput(f"{file} is not whole: it lacks files of its own list: take another backup")
    version, made = (printable(str(manifest[key])) for key in ("ferry", "made"))
    return Backup(file, state, version, made, tuple(names), file.stat().st_size)


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


def _give_to_owner(state: Path, names: tuple[str, ...]) -> None:
    """What root has restored belongs to the owner of the folder, the user of the service. That user may have put a link
    there to a file of root's, which stays root's."""
    owner = state.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for name in names:
            if (state / name).exists():
                os.chown(state / name, owner.st_uid, owner.st_gid, follow_symlinks=False)
