"""Backups and what is no backup, in the tests' own process. By the commands: cli/test_backup.py."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.clock import SystemClock
from ferry.errors import InvalidInput
from ferry.gateway.archive import MANIFEST, Backup, back_up, restore
from ferry.gateway.kept import DATABASE
from ferry.store.writer import open_sqlite

NO_BACKUP = "is not a backup of ferry: name a file that `ferry backup` has written"
KEY = "ssh_host_ed25519_key"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The folder of a gateway that has one secret."""
    folder = tmp_path / "state"
    open_sqlite(folder / DATABASE, 0.1).close()
    (folder / KEY).write_text("secret")
    return folder


def saved(state: Path, *, force: bool = False) -> Backup:
    return back_up(state, state.parent / "backup", clock=SystemClock(), force=force)


def brought_back(folder: Path, *, force: bool = False) -> Backup:
    return restore(folder / "backup", folder / "new", clock=SystemClock(), force=force)


def test_a_backup_has_the_database_and_the_secrets_and_comes_back(state: Path) -> None:
    assert saved(state).files == (DATABASE, KEY)
    assert sorted(brought_back(state.parent).files) == [DATABASE, KEY]
    assert (state.parent / "new" / KEY).read_text() == "secret"


def test_what_is_there_is_overwritten_with_force_alone(state: Path) -> None:
    first = saved(state)
    with pytest.raises(InvalidInput, match="backup exists: name another file, or replace it with --force"):
        saved(state)
    assert saved(state, force=True).file == first.file
    brought_back(state.parent)
    (state.parent / "new" / KEY).write_text("mine")
    with pytest.raises(InvalidInput, match="has a gateway's data already"):
        brought_back(state.parent)
    assert (state.parent / "new" / KEY).read_text() == "mine"
    brought_back(state.parent, force=True)
    assert (state.parent / "new" / KEY).read_text() == "secret"


def test_a_secret_that_is_a_link_is_refused(state: Path) -> None:
    (state / KEY).rename(state.parent / "elsewhere")
    (state / KEY).symlink_to(state.parent / "elsewhere")
    with pytest.raises(InvalidInput, match=f"{KEY} is a symbolic link, which may lead to files of others"):
        saved(state)


def file_(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry, content


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    return entry, b""


Change = Callable[[bytes, bytes, bytes], list[tuple[tarfile.TarInfo, bytes]]]
CHANGES: dict[str, tuple[Change, str]] = {
    "nothing": (lambda _manifest, _database, _key: [], NO_BACKUP),
    "the list under another name": (
        lambda manifest, database, key: [file_("list", manifest), file_(DATABASE, database), file_(KEY, key)],
        NO_BACKUP,
    ),
    "the list as a link": (
        lambda manifest, database, key: [
            link(MANIFEST, "list"), file_("list", manifest), file_(DATABASE, database), file_(KEY, key),
        ],
        NO_BACKUP,
    ),
    "the list as a link to nothing": (lambda _manifest, _database, _key: [link(MANIFEST, "list")], NO_BACKUP),
    "another format": (
        lambda manifest, database, key: [
            file_(MANIFEST, json.dumps(json.loads(manifest) | {"format": 99, "ferry": "9.0"}).encode()),
            file_(DATABASE, database), file_(KEY, key),
        ],
        "was written by ferry 9.0: install that version first",
    ),
    "the database as a link": (
        lambda manifest, _database, key: [file_(MANIFEST, manifest), link(DATABASE, "/etc/passwd"), file_(KEY, key)],
        f"has '{DATABASE}' in it, which no backup of ferry has",
    ),
    "something else": (
        lambda manifest, database, key: [
            file_(MANIFEST, manifest), file_(DATABASE, database), file_(KEY, key), file_("../evil", b""),
        ],
        "has '../evil' in it, which no backup of ferry has",
    ),
    "a file too few": (
        lambda manifest, database, _key: [file_(MANIFEST, manifest), file_(DATABASE, database)],
        "is not whole: it lacks files of its own list",
    ),
    "a file too many": (
        lambda manifest, database, key: [
            file_(MANIFEST, manifest), file_(DATABASE, database), file_(KEY, key), file_("ssh_host_rsa_key", b"x"),
        ],
        "is not whole: it lacks files of its own list",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_whole_backup_changes_nothing(state: Path, name: str) -> None:
    change, says = CHANGES[name]
    file = saved(state).file
    with tarfile.open(file) as archive:
        contents = [found.read() for each in (MANIFEST, DATABASE, KEY) if (found := archive.extractfile(each))]
    with tarfile.open(file, "w:gz") as archive:
        for entry, content in change(*contents):
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(InvalidInput, match=re.escape(says)):
        brought_back(state.parent)
    assert [path.name for path in (state.parent / "new").iterdir()] == ["lock"]
    assert not (state.parent / "evil").exists()
