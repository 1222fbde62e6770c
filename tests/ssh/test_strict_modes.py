"""Who could write a file of keys (StrictModes): what counts, and what the operator is told."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ferry.ownership import user_name
from ferry.protocol.key_paths import AccessPaths
from ferry.ssh.key_files import NOT_A_FILE, Listing, listing_of
from other_user import NOBODY, needs_root

ME = user_name(os.geteuid())
Look = Callable[..., Listing]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file for the login name `dev`."""
    (made := tmp_path / "keys").mkdir(mode=0o755)
    (made / "dev").write_text("")
    (made / "dev").chmod(0o644)
    return made


@pytest.fixture
def look(tmp_path: Path) -> Look:
    return lambda *paths: listing_of(AccessPaths(paths, strict_beside=tmp_path))


def errors(listing: Listing) -> list[tuple[Path, str]]:
    """The files and folders that are refused, with the first part of the reason, and what to write."""
    return [
        (each.path, each.why.partition(", or write strict_modes = false in [sshd]")[0]) for each in listing.rejected
    ]


@pytest.mark.parametrize(
    ("mode", "counts"), [(0o600, True), (0o644, True), (0o646, False), (0o666, False), (0o1646, False)]
)
def test_a_file_that_others_may_write_does_not_count(folder: Path, look: Look, mode: int, *, counts: bool) -> None:
    (file := folder / "dev").chmod(mode)
    for path in (file, folder, folder / "%u"):
        listing = look(path)
        assert [stamp.path for stamp in listing.stamps] == ([file] if counts else [])
        why = (
            f"it belongs to {ME} and has the mode {mode:04o}, so that others than {ME} could write keys there, and no "
            f"key in it counts: chmod go-w {file}"
        )
        assert errors(listing) == ([] if counts else [(file, why)])
    assert listing_of(AccessPaths((file,))).stamps, "without StrictModes it does"


def test_a_folder_that_others_may_write_is_named_once_and_a_sticky_one_is_safe(folder: Path, look: Look) -> None:
    (folder / "ann").write_text("")
    (folder / "ann").chmod(0o644)
    folder.chmod(0o777)
    for path in (folder, folder / "%u"):
        [(named, why)] = errors(look(path))
        assert (named, why.startswith(f"the folder {folder} belongs to {ME} and has the mode 0777")) == (folder, True)
        assert why.endswith(f"chmod go-w {folder}")
    folder.chmod(0o1777)
    assert len(look(folder).stamps) == 2


def test_a_link_counts_as_what_it_leads_to(folder: Path, look: Look, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir(mode=0o755)
    (elsewhere / "file").write_text("")
    (tmp_path / "linked").symlink_to(elsewhere)
    (folder / "dev").unlink()
    (folder / "dev").symlink_to(tmp_path / "linked" / "file")
    assert look(folder).stamps
    elsewhere.chmod(0o777)
    for path, blamed in ((folder, folder), (tmp_path / "linked" / "file", tmp_path / "linked")):
        [(named, why)] = errors(look(path))
        assert (named, why.endswith(f"chmod go-w {elsewhere}")) == (blamed, True)


@needs_root
def test_a_group_may_write_whose_members_may_all_write(
    folder: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := folder / "dev").chmod(0o664)
    assert look(folder).stamps, "of root alone"
    os.chown(file, -1, NOBODY)
    assert not look(folder).stamps, "nobody's own group"
    members = grp.struct_group(("keys", "x", 54321, ["root"]))
    monkeypatch.setattr(grp, "getgrgid", lambda _: members)
    os.chown(file, -1, 54321)
    assert look(folder).stamps
    members = grp.struct_group(("keys", "x", 54321, ["root", "nobody"]))
    assert not look(folder).stamps
    members = grp.struct_group(("keys", "x", 54321, []))
    assert not look(folder).stamps, "a group without members, such as a program has"


@needs_root
def test_a_file_belongs_to_root_to_the_gateways_user_or_to_the_account_of_the_login_name(
    folder: Path, look: Look, tmp_path: Path
) -> None:
    nobody = user_name(NOBODY)
    for name in ("dev", nobody):
        (folder / name).write_text("")
        (folder / name).chmod(0o644)
        os.chown(folder / name, NOBODY, -1)
    assert [stamp.path for stamp in look(folder / "%u").stamps] == [folder / nobody]
    [(named, why)] = errors(look(folder / "%u"))
    assert (named, why) == (
        folder / "dev",
        f"it belongs to {nobody} and has the mode 0644, so that others than root could write keys there, and no key in it "
        f"counts: chown root {folder / 'dev'}",
    )
    assert not look(folder).stamps, "a file that is for all login names has no account"
    os.chown(tmp_path, NOBODY, -1)
    assert len(look(folder).stamps) == 2, "the owner of the state folder is the gateway's user"


@needs_root
def test_what_is_above_the_home_of_the_account_does_not_matter(
    look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "homes" / "dev"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "authorized_keys").write_text("")
    (tmp_path / "homes").chmod(0o777)
    pattern = tmp_path / "homes" / "%u" / ".ssh" / "authorized_keys"
    assert [path for path, _ in errors(look(pattern))] == [tmp_path / "homes"]
    account = pwd.struct_passwd(("dev", "x", NOBODY, NOBODY, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", {"dev": account}.__getitem__)
    assert look(pattern).stamps
    home.chmod(0o777)
    assert [path for path, _ in errors(look(pattern))] == [home]


def test_a_list_of_revoked_keys_counts_whoever_may_write_it(folder: Path, tmp_path: Path) -> None:
    """It lets nobody in, and while there is none nobody may log in."""
    (folder / "dev").chmod(0o666)
    paths = AccessPaths(trusted_cas=(folder / "dev",), revoked=folder / "dev", strict_beside=tmp_path)
    listing = listing_of(paths)
    assert ([stamp.role for stamp in listing.stamps], len(listing.rejected)) == (["access.revoked_keys"], 1)


def test_a_folder_among_the_files_is_told_as_one_whoever_may_write_it(folder: Path, look: Look) -> None:
    (inner := folder / "inner").mkdir()
    inner.chmod(0o777)
    assert errors(look(folder)) == [(inner, NOT_A_FILE)]


def test_a_path_for_copies_means_no_files_of_login_names(folder: Path, look: Look) -> None:
    """`%u.bak` would let in a key that was taken out of its file."""
    (folder / "ann.bak").write_text("")
    listing = look(folder / "%u.bak")
    assert (listing.stamps, listing.copies) == ([], [folder / "ann.bak"])
