"""Paths of key files with `%u`: which entry of a folder is for which login name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ferry.errors import InvalidInput
from ferry.protocol.key_paths import KeyPath, parse_key_path


@pytest.mark.parametrize(
    ("path", "parsed"),
    [
        ("/etc/ferry/keys", KeyPath(Path("/etc/ferry/keys"))), ("/etc/100%/%%u", KeyPath(Path("/etc/100%/%u"))),
        ("/etc/%u", KeyPath(Path("/etc"), "%u")), ("keys/%u.pub", KeyPath(Path("keys"), "%u.pub")), ("%u", KeyPath(Path(), "%u")),
        ("/home/%u/.ssh/authorized_keys", KeyPath(Path("/home"), "%u", ".ssh/authorized_keys")),
        ("/k/%%/%u/%u.pub", KeyPath(Path("/k/%"), "%u", "%u.pub")),
    ],
)  # fmt: skip
def test_a_path_is_cut_at_its_first_part_with_a_login_name(path: str, parsed: KeyPath) -> None:
    assert parse_key_path(Path(path)) == parsed


@pytest.mark.parametrize(
    ("part", "name", "user"),
    [
        ("%u", "backup", "backup"), ("%u.pub", "backup.pub", "backup"), ("%u.pub", "backup", None), ("k-%u-%%", "k-a.b-%", "a.b"),
        ("%u-%u", "a-a", "a"), ("%u-%u", "a-b", None), ("%u", ".hidden", None), ("%u", "-o", None), ("%u", "a b", None),
        ("%u.pub", ".pub", None), ("%u", "a\n", None), ("x%u", "axa", None), ("%u", "svc@corp", "svc@corp"),
    ],
)  # fmt: skip
def test_an_entry_of_the_folder_is_for_a_login_name(part: str, name: str, user: str | None) -> None:
    assert KeyPath(Path("/k"), part).user_of(name) == user


def test_the_file_of_a_login_name() -> None:
    assert parse_key_path(Path("/k/%u/%%/%u.pub")).file_of("ann") == Path("/k/ann/%/ann.pub")
    for user in ("../etc", "", ".", "a/b", "a" * 65):
        with pytest.raises(InvalidInput, match="has no file of keys"):
            parse_key_path(Path("/k/%u")).file_of(user)


@pytest.mark.parametrize("path", ["%h/.ssh/keys", "/k/%%%h", "/k/%U"])
def test_other_tokens_of_sshd_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"has %[hU]: only %u is known, and %% for one %"):
        parse_key_path(Path(path))
