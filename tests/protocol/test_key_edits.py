"""Changes of key files leave all other bytes as they are."""

from __future__ import annotations

import pytest

from ferry.errors import InvalidInput
from ferry.protocol.authorized_keys import parse_file
from ferry.protocol.key_edits import appended, disabled_line, edited, enabled_line, is_disabled, with_key
from known_system import KNOWN

OLD = "AAAAC3NzaC1lZDI1NTE5AAAAIHUGhSYlrBeyWOuY7ZX0EYRnMsDYuXWRbYxkkkl4B0pQ"
NEW = "AAAAC3NzaC1lZDI1NTE5AAAAIBMaOxMYQjTDI3u9LaHZqZ3fJV6rH2tq5c5BqjY1Q2vE"
LINES = [
    f"ssh-ed25519 {OLD}",
    f"ssh-ed25519 {OLD} root@web-1 name=web-1",
    f'restrict,port-forwarding,permitlisten="21022" ssh-ed25519 {OLD} name=web-1',
    f'command="echo \\"ssh-ed25519 x\\"",from="10.0.0.0/8"  ssh-ed25519\t{OLD}  a b',
]


@pytest.mark.parametrize("line", LINES)
def test_a_disabled_line_lets_nobody_in_and_comes_back_as_it_was(line: str) -> None:
    off = disabled_line(line)
    assert is_disabled(off)
    assert not is_disabled(line)
    assert parse_file(off, KNOWN) == ([], [])
    assert enabled_line(off) == line


@pytest.mark.parametrize("line", LINES)
def test_a_new_key_has_the_options_and_the_comment_of_the_old_one(line: str) -> None:
    changed = with_key(line, "ssh-ed25519", NEW)
    assert changed.split() == line.replace(OLD, NEW).split()
    ((_, before),), _ = parse_file(line, KNOWN)
    ((_, after),), _ = parse_file(changed, KNOWN)
    assert (after.options, after.name) == (before.options, before.name)
    assert after.fingerprint != before.fingerprint


def test_a_line_without_a_key_takes_none() -> None:
    with pytest.raises(InvalidInput, match="the line has no key"):
        with_key("restrict nothing", "ssh-ed25519", NEW)


def test_lines_are_changed_and_removed_by_their_numbers() -> None:
    text = "# a\none\r\ntwo\n\nthree"
    assert edited(text, {2: ("one\r", "ONE"), 5: ("three", None)}) == "# a\nONE\ntwo\n"
    assert edited(text, {}) == text


@pytest.mark.parametrize("changes", [{2: ("other", None)}, {9: ("", None)}])
def test_a_file_that_has_changed_meanwhile_stays_as_it_is(changes: dict[int, tuple[str, str | None]]) -> None:
    with pytest.raises(InvalidInput, match="changed meanwhile: run this again"):
        edited("# a\none\n", changes)


@pytest.mark.parametrize(("text", "then"), [("", "new\n"), ("one\n", "one\nnew\n"), ("one", "one\nnew\n")])
def test_a_line_is_added_behind_a_last_line_without_an_end_too(text: str, then: str) -> None:
    assert appended(text, "new") == then
