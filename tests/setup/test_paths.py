from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry.setup.paths import Account, account, unreadable

STRANGER = Account("stranger", 54321, frozenset({54321}))


@pytest.fixture
def tree() -> Iterator[Path]:
    """A folder that others can enter: pytest's `tmp_path` lies below one that they cannot."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


def test_an_open_file_and_a_closed_one(tree: Path) -> None:
    file = tree / "key"
    file.write_text("x")
    file.chmod(0o644)
    assert unreadable(file, STRANGER) is None
    file.chmod(0o640)
    assert unreadable(file, STRANGER) == f"{file}: user stranger cannot read it"
    owner = Account("owner", file.stat().st_uid or 0, frozenset())
    assert unreadable(file, owner) is None
    member = Account("member", 54321, frozenset({file.stat().st_gid}))
    assert unreadable(file, member) is None


def test_the_owner_class_wins_over_others_as_in_the_kernel(tree: Path) -> None:
    file = tree / "odd"
    file.write_text("x")
    file.chmod(0o044)
    member = Account("member", 54321, frozenset({file.stat().st_gid}))
    assert unreadable(file, member) is None
    file.chmod(0o604)
    assert unreadable(file, member) == f"{file}: user member cannot read it"


def test_the_folder_in_the_way_is_named(tree: Path) -> None:
    closed = tree / "closed"
    (closed / "inner").mkdir(parents=True)
    file = closed / "inner" / "key"
    file.write_text("x")
    closed.chmod(0o700)
    assert unreadable(file, STRANGER) == f"{file}: user stranger cannot enter {closed}"
    link = tree / "link"
    link.symlink_to(file)
    assert unreadable(link, STRANGER) == f"{link}: user stranger cannot enter {closed}"


def test_a_folder_is_readable_when_all_in_it_is(tree: Path) -> None:
    keys = tree / "keys"
    keys.mkdir()
    keys.chmod(0o755)
    (keys / "alice.pub").write_text("x")
    (keys / "alice.pub").chmod(0o644)
    assert unreadable(keys, STRANGER) is None
    (keys / "bob.pub").write_text("x")
    (keys / "bob.pub").chmod(0o600)
    assert unreadable(keys, STRANGER) == f"{keys / 'bob.pub'}: user stranger cannot read it"
    keys.chmod(0o711)
    assert unreadable(keys, STRANGER) == f"{keys}: user stranger cannot list it"


def test_a_missing_path(tree: Path) -> None:
    assert unreadable(tree / "none", STRANGER) == f"{tree / 'none'} does not exist"
    nobody = account("no:such:user")
    assert not nobody.exists
    assert account("root").uid == 0
    assert account("root").exists
    assert unreadable(tree, account("root")) is None


def test_nothing_is_closed_to_root(tree: Path) -> None:
    closed = tree / "closed"
    closed.mkdir()
    (closed / "key").write_text("x")
    (closed / "key").chmod(0)
    closed.chmod(0o100)  # its owner may enter, so that it can be cleared away
    assert unreadable(closed / "key", account("root")) is None
    assert unreadable(closed / "key", STRANGER) == f"{closed / 'key'}: user stranger cannot enter {closed}"
