"""Completion in a real bash, and manual pages in a real man, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_group

from ferry.cli.completion import Shell, script
from ferry.cli.docs import Page, text_of
from ferry.cli.main import program

COMMANDS = get_group(program())


def completed(folder: Path, *words: str) -> list[str]:
    """What bash completes at the last of `words`."""
    (folder / "ferry").write_text(script(Shell.BASH, COMMANDS))
    code = 'source ./ferry; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ferry; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("ferry", "ev"), ["events"]),
        (("ferry", "ls", "--conn"), ["--connections"]),
        (("ferry", "status", "--output", ""), ["text", "json"]),
        (("ferry", "init", "--access", "k"), ["keys"]),
        (("ferry", "completion", "z"), ["zsh"]),
        (("ferry", "help", "chec"), ["check-config"]),
        (("ferry", "lint", "s"), ["sshd"]),
        (("ferry", "--ver"), ["--version"]),
        (("ferry", "--js"), ["--json"]),
        (("ferry", "-o", "j"), ["json"]),
        (("ferry", "--output", "json", "ls", "--conn"), ["--connections"]),
        (("ferry", "backup", "--state", "fer"), ["ferry"]),  # the script's own file
    ],
)
def test_bash_completes(tmp_path: Path, words: tuple[str, ...], found: list[str]) -> None:
    assert completed(tmp_path, *words) == found


@pytest.mark.parametrize("shell", list(Shell))
def test_every_command_and_option_is_in_every_script(shell: Shell) -> None:
    text = script(shell, COMMANDS)
    for word in ("serve", "restore", "install-service", "names", "follow", "https-listen"):
        assert word in text


def test_zsh_offers_the_words_of_an_argument_and_files_where_there_are_none() -> None:
    lines = {names.strip(): line for names, line in pairwise(script(Shell.ZSH, COMMANDS).splitlines())}
    ends = {
        "completion": " '*:completion:(bash zsh fish)' ;;",
        "keys": " '1:keys:(list add disable enable replace remove)' '*:file:_files' ;;",
        "reload": "[Show this message and exit.]' '*:file:_files' ;;",
    }
    assert {name: end for name, end in ends.items() if lines[f"{name})"].endswith(end)} == ends


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_read_their_script(tmp_path: Path, shell: str) -> None:
    (tmp_path / "ferry").write_text(script(Shell(shell), COMMANDS))
    done = subprocess.run([shell, "-n", tmp_path / "ferry"], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("page", "says"), [(Page.MAN, "ferry check-config"), (Page.MAN_CONFIGURATION, "reserved_more")]
)
def test_manual_pages_are_well_formed(tmp_path: Path, page: Page, says: str) -> None:
    text = text_of(page, COMMANDS)
    assert text.startswith(".TH FERRY")
    assert text.isascii()
    assert says.replace("-", "\\-") in text
    requests = {line.split()[0] for line in text.splitlines() if line.startswith(".")}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I", ".BR", ".br"}
    if shutil.which("groff") is None:
        return
    (tmp_path / "page").write_text(text)
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "page"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
