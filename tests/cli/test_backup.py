"""`ferry backup` and `ferry restore`, with a real gateway and stock ssh."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ferry_command import ferry
from gateway_process import Gateway
from origin_server import Origin
from other_user import NOBODY, give_to_nobody, needs_root, passable_folder
from web_client import visit

OF_HOST_KEY = ("ssh_host_ed25519_key.next", "ssh_host_ed25519_key-cert.pub")
"""Its successor, and its certificate."""


def test_a_gateway_goes_on_elsewhere_from_a_backup_of_it_while_it_ran(
    start_gateway: Callable[..., Gateway], new_key: Callable[[], Path], origin: Origin, tmp_path: Path
) -> None:
    """The round trip: names, their owners, the host keys and the local CA are the same."""
    gateway = start_gateway()
    owner, stranger = gateway.ssh(tmp_path, new_key()), gateway.ssh(tmp_path, new_key())
    forward = ("-R", f"blog:80:localhost:{origin.port}")
    for name in OF_HOST_KEY:
        shutil.copy(gateway.state / "ssh_host_ed25519_key", gateway.state / name)
    with owner.start(*forward) as child:
        child.line("http://blog.localhost")
        made = ferry("backup", "b.tar.gz", "--config", gateway.folder / "ferry.toml", cwd=tmp_path)
        assert (made.code, made.err) == (0, "")
    file = tmp_path / "b.tar.gz"
    assert made.out.startswith("wrote b.tar.gz (")
    assert f"mode 0600): database, 3 host keys, local CA of {gateway.state}\n" in made.out
    assert "who has it can pose as this gateway" in made.out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    names = ("ssh_host_ed25519_key", *OF_HOST_KEY, "ca/ca.crt", "ca/ca.key")
    kept = {name: (gateway.state / name).read_bytes() for name in names}
    gateway.stop()
    gateway.state.rename(gateway.folder / "lost")

    done = ferry("restore", file, "--config", gateway.folder / "ferry.toml", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert f"restored database, 3 host keys, local CA into {gateway.state}, as they were at 20" in done.out
    assert {name: (gateway.state / name).read_bytes() for name in kept} == kept
    assert stat.S_IMODE((gateway.state / "ca/ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((gateway.state / "ferry.db").stat().st_mode) == 0o600
    gateway.start()
    assert visit(gateway, "blog").status == 503
    assert "belongs to somebody else" in stranger.run(*forward).err
    with owner.start(*forward) as child:
        child.line("http://blog.localhost")
    assert "REMOTE HOST IDENTIFICATION" not in owner.run().err


@pytest.fixture(scope="module")
def backup(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup for all tests."""
    folder = tmp_path_factory.mktemp("backup")
    assert ferry("backup", "b.tar.gz", "--state", gateway.state, cwd=folder).code == 0
    return folder / "b.tar.gz"


@pytest.fixture
def saved(backup: Path, tmp_path: Path) -> Path:
    """A backup that the test may change."""
    return Path(shutil.copy2(backup, tmp_path))


def test_a_restore_into_a_running_gateway_is_refused(gateway: Gateway, saved: Path, tmp_path: Path) -> None:
    ran = ferry("restore", saved, "--state", gateway.state, "--force", cwd=tmp_path)
    assert ran.code == 3
    assert ran.err.startswith(f"ferry: another gateway runs with the state folder {gateway.state}: stop it")


def test_what_is_there_is_replaced_only_with_force_and_is_kept(saved: Path, tmp_path: Path) -> None:
    target = tmp_path / "new"
    restore = ("restore", saved, "--state", target)
    assert ferry(*restore, cwd=tmp_path).code == 0
    (target / "ferry.db-wal").write_bytes(b"of the old database")
    (target / "ssh_host_rsa_key").write_text("mine")
    refused = ferry(*restore, cwd=tmp_path)
    assert refused.code == 2
    assert (
        "has a gateway's data already: name another folder with --state, or replace the data with --force"
        in refused.err
    )
    assert ferry(*restore, "--force", cwd=tmp_path).code == 0
    (aside,) = target.glob("replaced-*")
    assert (aside / "ssh_host_rsa_key").read_text() == "mine"
    assert not (target / "ferry.db-wal").exists()
    assert "OPENSSH" in (target / "ssh_host_rsa_key").read_text()


def test_the_log_of_a_lost_database_does_not_get_into_the_restored_one(saved: Path, tmp_path: Path) -> None:
    """SQLite would take it for its own."""
    target = tmp_path / "new"
    target.mkdir(mode=0o700)
    (target / "ferry.db-wal").write_bytes(b"of the lost database")
    restore = ("restore", saved, "--state", target)
    assert ferry(*restore, cwd=tmp_path).code == 2
    assert ferry(*restore, "--force", cwd=tmp_path).code == 0
    assert not (target / "ferry.db-wal").exists()
    (aside,) = target.glob("replaced-*")
    assert (aside / "ferry.db-wal").read_bytes() == b"of the lost database"


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write the archive anew with other members."""
    with tarfile.open(file) as archive:
        members = {member.name: read(archive, member) for member in archive}
    change(members)
    with tarfile.open(file, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    assert content
    return content.read()


def newer_manifest(members: dict[str, bytes]) -> None:
    manifest = json.loads(members["ferry-backup.json"])
    members["ferry-backup.json"] = json.dumps(manifest | {"schema": "9999"}).encode()


def newer_database(members: dict[str, bytes]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(members["ferry.db"])
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
        members["ferry.db"] = database.serialize()


def no_database(members: dict[str, bytes]) -> None:
    del members["ferry.db"]


def odd_list(members: dict[str, bytes]) -> None:
    manifest = json.loads(members["ferry-backup.json"])
    members["ferry-backup.json"] = json.dumps(manifest | {"files": 5}).encode()


def deep_manifest(members: dict[str, bytes]) -> None:
    members["ferry-backup.json"] = b"[" * 60_000


def long_manifest(members: dict[str, bytes]) -> None:
    """BACKUP_MANIFEST_BYTES."""
    manifest = json.loads(members["ferry-backup.json"])
    members["ferry-backup.json"] = json.dumps(manifest | {"more": "x" * 64 * 1024}).encode()


def stranger(members: dict[str, bytes]) -> None:
    members["../evil"] = b""


def no_manifest(members: dict[str, bytes]) -> None:
    del members["ferry-backup.json"]


def damage(members: dict[str, bytes]) -> None:
    members["ferry.db"] = b"\xff" * 8192


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (newer_manifest, "the backup was made by a newer ferry (database 9999, this version knows 00"),
        (newer_database, "the backup was made by a newer ferry (database 9999, this version knows 00"),
        (no_database, "is not whole: it lacks files of its own list"),
        (stranger, "has '../evil' in it, which no backup of ferry has"),
        (odd_list, "is not a backup of ferry: name a file that `ferry backup` has written"),
        (deep_manifest, "is not a backup of ferry: name a file that `ferry backup` has written"),
        (long_manifest, "is not a backup of ferry: name a file that `ferry backup` has written"),
        (no_manifest, "is not a backup of ferry: name a file that `ferry backup` has written"),
        (damage, "the backup's database cannot be read (file is not a database): take another backup"),
    ],
)
def test_a_backup_that_cannot_be_used_changes_nothing(
    saved: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], says: str
) -> None:
    rewritten(saved, change)
    ran = ferry("restore", saved, "--state", tmp_path / "new", cwd=tmp_path)
    assert ran.code == 2
    assert says in ran.err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("length", [0, 3, 100, 1000])
def test_a_file_that_was_cut_off_is_refused(saved: Path, tmp_path: Path, length: int) -> None:
    os.truncate(saved, length)
    ran = ferry("restore", saved, "--state", tmp_path / "new", cwd=tmp_path)
    assert ran.code == 2
    assert str(saved) in ran.err


def test_a_pipe_is_no_backup(tmp_path: Path) -> None:
    """It was waited for."""
    os.mkfifo(tmp_path / "pipe")
    ran = ferry("restore", tmp_path / "pipe", "--state", tmp_path / "new", cwd=tmp_path)
    assert (ran.code, (tmp_path / "new").exists()) == (2, False)
    assert f"{tmp_path}/pipe is not a file: name a file that `ferry backup` has written" in ran.err


def test_a_backup_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "ferry.db").touch()
    ran = ferry("backup", "no/c.tar.gz", "--state", tmp_path, cwd=tmp_path)
    assert (ran.code, "no/c.tar.gz cannot be written: No such file or directory: make the folder no" in ran.err) == (
        1,
        True,
    )


def test_a_file_with_one_changed_bit_is_refused(saved: Path, tmp_path: Path) -> None:
    """A host key with another letter would be found out when its clients are turned away."""
    raw = bytearray(gzip.compress(gzip.decompress(saved.read_bytes()), 0))
    raw[raw.index(b"BEGIN OPENSSH PRIVATE KEY") + 100] ^= 1
    saved.write_bytes(raw)
    ran = ferry("restore", saved, "--state", tmp_path / "new", cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "is not a whole backup of ferry (CRC check failed" in ran.err
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


def test_a_backup_writes_no_escape_sequence_to_the_terminal(saved: Path, tmp_path: Path) -> None:
    def titled(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["ferry-backup.json"])
        members["ferry-backup.json"] = json.dumps(manifest | {"made": "\x1b]0;x\x07", "ferry": "\x1b[2J"}).encode()

    rewritten(saved, titled)
    ran = ferry("restore", saved, "--state", tmp_path / "new", cwd=tmp_path)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "\\x1b[2J" in ran.out


@pytest.mark.parametrize("name", ["ferry.db", "ferry.db-wal", "ssh_host_rsa_key", "ca", "ca/ca.key"])
def test_a_backup_takes_no_file_behind_a_link(saved: Path, tmp_path: Path, name: str) -> None:
    """The user of the service may have made it, to a file that root alone may read."""
    state, elsewhere = tmp_path / "new", tmp_path / "elsewhere"
    assert ferry("restore", saved, "--state", state, cwd=tmp_path).code == 0
    if (state / name).exists():
        (state / name).rename(elsewhere)
    else:
        elsewhere.touch()
    (state / name).symlink_to(elsewhere)
    ran = ferry("backup", "c.tar.gz", "--state", state, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert f"{state / name} is a symbolic link, which may lead to files of others: put the file itself" in ran.err
    assert not (tmp_path / "c.tar.gz").exists()


@pytest.mark.parametrize(
    ("name", "code"), [("lock", 3), ("ferry.db", 2), ("ferry.db-journal", 2), ("ssh_host_x_key", 2), ("ca", 2)]
)
def test_a_restore_writes_and_moves_nothing_behind_a_link(saved: Path, tmp_path: Path, name: str, code: int) -> None:
    state, elsewhere = tmp_path / "new", tmp_path / "elsewhere"
    state.mkdir(mode=0o700)
    (state / name).symlink_to(elsewhere)
    if name == "ca":
        elsewhere.mkdir()
    ran = ferry("restore", saved, "--state", state, "--force", cwd=tmp_path)
    assert ran.code == code
    assert f"{state / name} is a symbolic link" in ran.err
    assert not elsewhere.exists() or list(elsewhere.iterdir()) == []
    assert {path.name for path in state.iterdir()} <= {name, "lock"}


def test_a_backup_waits_for_no_pipe(saved: Path, tmp_path: Path) -> None:
    state = tmp_path / "new"
    assert ferry("restore", saved, "--state", state, cwd=tmp_path).code == 0
    os.mkfifo(state / "ssh_host_x_key")
    ran = ferry("backup", "c.tar.gz", "--state", state, cwd=tmp_path)
    assert ran.code == 2
    assert f"{state}/ssh_host_x_key is not a file" in ran.err


@needs_root
def test_root_reads_no_more_of_the_folder_than_its_owner_may(saved: Path, tmp_path: Path) -> None:
    """Also behind what looks like a file: here another name of one of root's."""
    with passable_folder() as folder:
        state, secret = folder / "state", folder / "shadow"
        assert ferry("restore", saved, "--state", state, cwd=tmp_path).code == 0
        give_to_nobody(state)
        good = ferry("backup", "good.tar.gz", "--state", state, cwd=tmp_path)
        assert (good.code, good.err) == (0, "")
        secret.write_text("of root")
        secret.chmod(0o600)
        os.link(secret, state / "ssh_host_x_key")
        ran = ferry("backup", "bad.tar.gz", "--state", state, cwd=tmp_path)
    assert ran.code == 1
    assert "ssh_host_x_key cannot be read with the rights of nobody, whose folder it is: Permission denied" in ran.err
    assert not (tmp_path / "bad.tar.gz").exists()
    with tarfile.open(tmp_path / "good.tar.gz") as archive:
        assert "ferry.db" in archive.getnames()
    assert (tmp_path / "good.tar.gz").stat().st_uid == os.geteuid()


def test_programs_are_told_what_was_done(saved: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for command in (("restore", saved), ("backup", tmp_path / "again.tar.gz")):
        done = ferry(*command, "--state", state, "--json", cwd=tmp_path)
        document = json.loads(done.out)
        assert (document["file"], document["state"]) == (str(command[1]), str(state))
        assert "ferry.db" in document["files"]
    forgotten = json.loads(ferry("forget-host-key", "ssh-ed25519", "--state", state, "--json", cwd=tmp_path).out)
    assert (forgotten["algorithm"], forgotten["forgotten"].startswith("SHA256:")) == ("ssh-ed25519", True)


@needs_root
def test_what_root_restores_belongs_to_the_folders_owner(saved: Path, tmp_path: Path) -> None:
    with passable_folder() as folder:
        state = folder / "state"
        state.mkdir(mode=0o700)
        give_to_nobody(state)
        assert ferry("restore", saved, "--state", state, cwd=tmp_path).code == 0
        assert {path.lstat().st_uid for path in (state, *state.rglob("*"))} == {NOBODY}
        forgotten = ferry("forget-host-key", "ssh-rsa", "--state", state, cwd=tmp_path)
        assert (forgotten.code, forgotten.err) == (0, "")
        assert {path.lstat().st_uid for path in (state, *state.rglob("*"))} == {NOBODY}


def test_a_backup_overwrites_no_file_and_says_where_it_finds_no_gateway(saved: Path, tmp_path: Path) -> None:
    before = saved.read_bytes()
    ran = ferry("backup", saved, "--state", tmp_path / "none", cwd=tmp_path)
    assert (ran.code, saved.read_bytes()) == (2, before)
    assert "exists: name another file, or replace it with --force" in ran.err
    ran = ferry("backup", "c.tar.gz", "--state", tmp_path / "none", cwd=tmp_path)
    assert ran.code == 1
    assert f"{tmp_path}/none/ferry.db is not there: name the gateway's state folder with --state" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [saved.name]
