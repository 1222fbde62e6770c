"""Texts fit their columns, and what is to be copied from them stays whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry.cli.wrapping import PIPE_COLUMNS, columns, wrapped
from ferry_command import clean_environment, ferry, ferry_on_terminal

PUBLIC = """\
domain = "gw.example"
[ssh]
listen = "*:0"
keepalive_interval = "0"
[http]
listen = "*:0"
[https]
listen = "*:0"
[admin]
listen = []
[names]
reserved = ["shop"]
[access]
mode = "keys"
keys = ["a folder of keys"]
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three four five", ["one two three four", "    five"]),
        ('said: write mode = "keys" in it', ["said: write", '    mode = "keys"', "    in it"]),
        ("the gateway's own `ferry ca` prints", ["the gateway's own", "    `ferry ca`", "    prints"]),
        ("'a long name of it' is none", ["'a long name of it'", "    is none"]),
        ('write keys = ["/a", "/b/c/d"] now', ["write", '    keys = ["/a", "/b/c/d"]', "    now"]),
        ("  the-first: why it is", ["  the-first: why", "      it is"]),
        ("/a b/f.toml, line 3: it is wrong", ["/a b/f.toml, line", "    3: it is wrong"]),
        ("two  spaces  too", ["two  spaces  too"]),
        ("short\n\nlines stay as they are", ["short", "", "lines stay as they", "    are"]),
    ],
)
def test_lines_are_broken_between_words_and_never_inside_a_value(text: str, lines: list[str]) -> None:
    assert wrapped(text, 18, hang=4, whole=["/a b/f.toml"]) == lines


@pytest.mark.parametrize(
    ("given", "width"), [("", PIPE_COLUMNS), ("0", PIPE_COLUMNS), ("wide", PIPE_COLUMNS), ("60", 60), ("7", 40)]
)
def test_the_width_of_a_pipe_may_be_given(monkeypatch: pytest.MonkeyPatch, given: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert columns(io.StringIO()) == width


WORDS = st.lists(st.text("abc.:/", min_size=1, max_size=12), min_size=1)


@given(WORDS, st.integers(14, 40))
def test_no_word_is_lost_and_only_a_long_one_exceeds_the_width(words: list[str], width: int) -> None:
    lines = wrapped(" ".join(words), width)
    assert " ".join(lines) == " ".join(words)
    assert all(len(line) <= width for line in lines)


def test_what_check_config_prints_fits_a_pipe_and_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a folder of keys").mkdir()
    (tmp_path / "f.toml").write_text(PUBLIC)
    command = ("check-config", "--no-dns", "--config", "f.toml")
    whole = ferry(*command, cwd=tmp_path)
    assert max(map(len, whole.out.splitlines())) > PIPE_COLUMNS
    piped = ferry(*command, cwd=tmp_path, env=clean_environment())
    shown = ferry_on_terminal(*command, cwd=tmp_path, columns=60, extra={"NO_COLOR": "1"})
    for ran, width in ((piped, PIPE_COLUMNS), (shown, 60)):
        assert ran.out.split() == whole.out.split()
        broken = [line for line in ran.out.splitlines() if len(line) > width]
        assert all("a folder of keys" in line or f"{tmp_path}" in line for line in broken), broken
    assert f"{tmp_path}/a folder of keys" in shown.out  # with no line broken at its spaces


def test_mistakes_in_a_configuration_fit_too(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('domain = "https://gw.example"\n[ssh]\nlisten = "*:2222"\nport = 22\n')
    ran = ferry("check-config", "--config", "f.toml", cwd=tmp_path, env=clean_environment())
    assert ran.code == 2
    lines = ran.err.splitlines()
    assert max(map(len, lines)) <= PIPE_COLUMNS
    assert all(line.startswith(("ferry: f.toml, line ", "f.toml, line ", "    ")) for line in lines)


def test_styles_take_no_columns_and_begin_no_list() -> None:
    text = "\x1b[1mweb-1\x1b[0m from [2001:db8::1]:22 to port 22080"
    assert wrapped(text, 40) == ["\x1b[1mweb-1\x1b[0m from [2001:db8::1]:22 to port", "22080"]
    assert wrapped(text, 29) == ["\x1b[1mweb-1\x1b[0m from [2001:db8::1]:22", "to port 22080"]
    assert wrapped(text, 20) == ["\x1b[1mweb-1\x1b[0m from", "[2001:db8::1]:22 to", "port 22080"]
