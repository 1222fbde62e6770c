"""Which files `ferry lint sshd` and `ferry import` take for what, and which files of keys they look for."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from ferry.errors import InvalidInput
from ferry.lint.views import views
from ferry.protocol.sshd_config import Source, parse
from ferry.setup.sshd_entry import Lost, allows_more
from ferry.setup.sshd_files import read_keys, read_subject
from stopped_keys import public

KEY = f"{public(1)} ann\n"


@pytest.mark.parametrize(
    ("text", "has_keys"),
    [
        (KEY, True),
        (f"{KEY}Port 22\n{KEY}", True),
        (f"{KEY}Port 22\n", False),
        ("Port 22\n", False),
        ("", False),
        (f"{'#' * 2**20}\n{KEY}", True),
    ],
)
def test_a_file_with_keys_in_most_lines_is_one_of_keys(tmp_path: Path, text: str, *, has_keys: bool) -> None:
    (tmp_path / "file").write_text(text)
    found = read_subject(str(tmp_path / "file"), "ann").keys
    assert (found and (found.text, found.user)) == ((text, "ann") if has_keys else None)


def test_a_configuration_that_is_longer_than_any_is_refused(tmp_path: Path) -> None:
    """LINT_CONFIG_BYTES."""
    (tmp_path / "file").write_text("#" * (2**20 + 1))
    with pytest.raises(InvalidInput, match=r"longer than 1\.0 MB\): name an sshd_config"):
        read_subject(str(tmp_path / "file"), None)


def test_files_of_keys_are_those_that_are_there(tmp_path: Path) -> None:
    for path in ("keys", "per/ann", "joe/keys", ".ssh/authorized_keys", "odd/bob-%%", "none"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(KEY)
    (tmp_path / "folder").mkdir()
    names = f"none {tmp_path}/keys {tmp_path}/folder {tmp_path}/missing {tmp_path}/per/%u {tmp_path}/odd/%u-%%"
    text = f"AuthorizedKeysFile {names} %u/keys .ssh/authorized_keys\n"
    left_out: list[str] = []
    with contextlib.chdir(tmp_path):
        found = read_keys(views(parse(Source("file", text), lambda _pattern: []), None), (), None, left_out)
    assert [(each.name, each.user) for each in found] == [(f"{tmp_path}/keys", None), (f"{tmp_path}/per/ann", "ann")]
    assert left_out == []


@pytest.mark.parametrize(
    ("file", "told"), [(".ssh/authorized_keys", True), ("/k/%u", True), ("/k", False), ("none", False)]
)
def test_who_is_left_out_by_a_login_name_is_told_where_that_has_keys_of_its_own(file: str, *, told: bool) -> None:
    assert ("may do more" in allows_more(Lost("denyusers", ["bob"], (), (file,), False))) is told
