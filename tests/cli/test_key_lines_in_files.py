"""The lines of key files: what is read, and what is not written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ferry.cli.key_lines import Mistaken, lines_in, rewrite
from ferry.errors import FerryError

MOST = 4 * 1024 * 1024
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJcYV5ZSZ7lVXdu0m6rO8bxZ1Gm7UeBy9TR5q3hUq8aT"


def test_comments_and_empty_lines_are_no_mistakes(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# machines\n \t# \r\n\n \r\n{KEY}\n#disabled # was here\nnonsense\n")
    mistakes: list[Mistaken] = []
    assert [line.number for line in lines_in([tmp_path / "keys"], mistakes)] == [5]
    assert [line.number for line in mistakes] == [7]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FerryError, match=r"/none cannot be read \((?s:.*)\): make it, correct access.keys, or run this"
    ):
        lines_in([tmp_path / "none"])


def test_a_pipe_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "keys")
    with pytest.raises(FerryError, match=r"/keys cannot be read \(it is not a file"):
        lines_in([tmp_path / "keys"])


@pytest.mark.parametrize("leads", [None, "file"])
def test_a_folder_for_all_login_names_that_is_none_is_named(tmp_path: Path, leads: str | None) -> None:
    if leads:
        (tmp_path / leads).write_text(f"{KEY}\n")
        (tmp_path / "k").symlink_to(leads)
    with pytest.raises(FerryError, match=r"/k cannot be read \((?s:.*)\): make it, correct access.keys, or run this"):
        lines_in([tmp_path / "k" / "%u"])


def test_a_file_that_has_become_too_large_meanwhile_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "keys").open("w") as file:
        file.truncate(MOST + 1)
    with pytest.raises(FerryError, match="/keys is larger than 4 MiB, so none of its keys counts"):
        rewrite(tmp_path / "keys", lambda _text: "")
    assert (tmp_path / "keys").stat().st_size == MOST + 1


def test_a_name_in_the_file_of_a_login_name_is_a_mistake_and_elsewhere_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    (tmp_path / "k" / "ann").write_text(f"{KEY} name=bob\n{KEY}\n")
    for path, wrong in (("k/%u", [1]), ("k/ann", [])):
        mistakes: list[Mistaken] = []
        found = lines_in([tmp_path / path], mistakes)
        assert [line.number for line in mistakes] == wrong
        assert [line.number for line in found] == [number for number in (1, 2) if number not in wrong]


def test_a_file_is_made_if_that_is_wanted_and_no_link_is_followed(tmp_path: Path) -> None:
    file, link = tmp_path / "keys", tmp_path / "link"
    with pytest.raises(FerryError, match="/keys cannot be written: No such file"):
        rewrite(file, lambda text: text + KEY)
    rewrite(file, lambda text: text + KEY, make=True)
    link.symlink_to(file)
    with pytest.raises(FerryError, match="/link is a symbolic link: write the file itself into"):
        rewrite(link, lambda _text: "")
    with pytest.raises(FerryError, match="/keys would be larger than 4 MiB, so that none of its keys counts"):
        rewrite(file, lambda text: text + "#" * MOST)
    assert file.read_text() == KEY
