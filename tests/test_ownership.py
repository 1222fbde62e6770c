"""Whose rights root uses in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry.ownership import other_owner, other_owner_on_the_way, rights_of, user_name
from other_user import NOBODY, give_to_nobody, needs_root, passable_folder

pytestmark = needs_root


@pytest.fixture
def folder() -> Iterator[Path]:
    with passable_folder() as made:
        yield made


def test_the_owner_of_a_folder_or_file_decides_what_is_there(folder: Path) -> None:
    theirs = folder / "theirs"
    (theirs / "deeper").mkdir(parents=True)
    give_to_nobody(theirs)
    assert [other_owner(path) for path in (folder, theirs, theirs / "deeper", theirs / "new" / "er")] == [
        None,
        NOBODY,
        NOBODY,
        NOBODY,
    ]
    assert other_owner(theirs / ".." / "theirs") == NOBODY
    assert other_owner(folder / "new") is None


def test_a_link_of_roots_is_followed_and_a_link_of_theirs_is_theirs(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to("/etc")
    give_to_nobody(theirs)
    (folder / "roots").symlink_to("theirs")
    (folder / "absolute").symlink_to(theirs)
    (folder / "round").symlink_to("round")
    assert other_owner(folder / "roots") == NOBODY
    assert other_owner(folder / "absolute" / "new") == NOBODY
    assert other_owner(theirs / "link" / "passwd") == NOBODY  # which is root's
    assert other_owner(folder / "round") is None


def test_what_root_has_made_in_a_folder_of_theirs_is_roots_until_they_can_exchange_it(folder: Path) -> None:
    theirs = folder / "theirs"
    theirs.mkdir()
    give_to_nobody(theirs)
    (theirs / "roots").mkdir()
    assert other_owner(theirs / "roots") is None
    assert other_owner_on_the_way(theirs / "roots") == NOBODY
    assert other_owner_on_the_way(folder) is None


def test_root_has_their_rights_and_then_its_own_again(folder: Path) -> None:
    (folder / "secret").touch(0o600)
    before = (os.geteuid(), os.getegid(), os.getgroups())
    with pytest.raises(PermissionError), rights_of(NOBODY):
        (folder / "secret").read_bytes()
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    with rights_of(None):
        assert (folder / "secret").read_bytes() == b""


def test_a_user_without_an_entry_has_the_rights_of_its_number_alone(folder: Path) -> None:
    (folder / "secret").touch(0o640)
    assert user_name(4_000_001) == "4000001"
    with pytest.raises(PermissionError), rights_of(4_000_001):
        (folder / "secret").read_bytes()
