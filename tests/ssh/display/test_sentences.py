"""Sentences in lines that fit a width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.ssh.display.sentences import broken

TEXT = st.text(st.sampled_from("abc `{}()-RNssh:"), max_size=200)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("short enough", ["short enough"]),
        ("a sentence that is broken", ["a sentence that is", "  broken"]),
        ("  a note below a forward", ["  a note below a", "    forward"]),
        ("write `ssh -p 2222 gw help` now", ["write", "  `ssh -p 2222 gw help`", "  now"]),
        ("for another: ssh -R NAME:80:... -p 22 gw", ["for another:", "  ssh -R NAME:80:... -p 22 gw"]),
        ("give it back with ssh gw release NAME", ["give it back with", "  ssh gw release NAME"]),
        (
            'write server: { allowedHosts: ["NAME"] } there',
            ["write", '  server: { allowedHosts: ["NAME"] }', "  there"],
        ),
        ("it may be a word, -R 80:localhost:3000", ["it may be a word,", "  -R 80:localhost:3000"]),
        ("see https://a-long-name.example.com/path", ["see", "  https://a-long-name.example.com/path"]),
    ],
)
def test_what_a_person_copies_is_in_one_piece(text: str, lines: list[str]) -> None:
    assert broken(text, 20) == lines


@given(text=TEXT, width=st.integers(50, 120))
def test_nothing_is_lost_and_further_lines_are_indented(text: str, width: int) -> None:
    lines = broken(text, width)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(line.startswith("  ") for line in lines[1:])
