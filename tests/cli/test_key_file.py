"""The file that a key is added to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferry.cli.key_file import file_for, key_files
from ferry.errors import FerryError
from other_user import NOBODY, needs_root


@pytest.mark.parametrize(
    ("path", "user", "offered", "found"),
    [
        ("keys", None, ["ann", "bob"], "keys"),
        ("folder", None, [], "folder/ferry_allow.keys"),
        ("folder/%u", None, ["ann"], "folder/ann"),
        ("folder/%u", "bob", ["ann"], "folder/bob"),
        ("folder/%u", "bob", ["ann", "cat"], "folder/bob"),
    ],
)
def test_it_is_that_of_the_login_name_where_the_path_has_one(
    tmp_path: Path, path: str, user: str | None, offered: list[str], found: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert file_for([f"{tmp_path}/{path}"], user, offered) == tmp_path / found


@pytest.mark.parametrize(
    ("path", "user", "offered", "says"),
    [
        (
            "/k/%u",
            None,
            ["ann", "bob"],
            "the key was offered with the login names ann, bob: name the right one with --user NAME",
        ),
        ("/k/%u", None, [], "/k/%u has a file for each login name: name the right one with --user NAME"),
        (
            "/k/%u",
            "ann.bak",
            [],
            "a file for the login name 'ann.bak' would not count, for files are called so that editors "
            "and people leave behind as copies: log in with another name",
        ),
        ("/k", "ann", ["ann"], "/k is for every login name (no %u): leave out --user"),
    ],
)
def test_the_operator_names_the_login_name_if_and_only_if_it_is_not_clear(
    path: str, user: str | None, offered: list[str], says: str
) -> None:
    with pytest.raises(FerryError) as refused:
        file_for([path], user, offered)
    assert str(refused.value) == says


def test_a_gateway_without_key_files_has_none() -> None:
    with pytest.raises(FerryError, match=r"this gateway has no files of keys \(access.keys\): it lets in every key"):
        file_for([], None, [])


def test_files_are_those_of_the_configuration_and_of_the_gateway_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "ferry.toml"
    file.write_text('[access]\nmode = "keys"\nkeys = ["keys"]\n')
    assert key_files(["/told"], None, tmp_path) == ["/told"]
    assert key_files([f"{tmp_path}/keys"], file, tmp_path) == [f"{tmp_path}/keys"]
    for told, whom in ((["/told"], "the keys in /told"), ([], "every key")):
        with pytest.raises(
            FerryError, match=f"the gateway that runs lets in {whom}, and with {file} it would let in the "
        ):
            key_files(told, file, tmp_path)


@needs_root
def test_root_takes_no_file_from_the_gateways_user(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(
        FerryError, match="runs as nobody, and root does not write to a file because that user names it"
    ):
        key_files(["/told"], None, tmp_path)
