"""The start and the exit codes of the program, in the test's own process."""

from __future__ import annotations

import errno
import sys

import pytest

from ferry.cli import main as module
from ferry.cli.main import main
from ferry.errors import InvalidInput


def end_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["ferry", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_version_and_nothing_else(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert end_of(monkeypatch, "--version") == 0
    assert capsys.readouterr() == ("ferry 0.1.0\n", "")


def test_a_mistake_prints_a_traceback_only_with_ferry_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FERRY_DEBUG", raising=False)
    assert end_of(monkeypatch, "ls", "--connections", "--names") == 2
    said = "--connections and --names are two lists: ask for one of them"
    assert capsys.readouterr() == ("", f"ferry: {said}\n")
    monkeypatch.setenv("FERRY_DEBUG", "1")
    with pytest.raises(InvalidInput, match=said):
        main()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.ENOTDIR, "Not a directory", "/a/b"), "/a/b: Not a directory"),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a"),
            "/a: Permission denied: run this as the user of the gateway, or with sudo",
        ),
        (OSError("a mistake of the program"), None),
    ],
)
def test_an_error_of_the_system_is_one_text_unless_it_says_nothing_or_is_debugged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError, said: str | None
) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr(module, "version_text", fail)
    monkeypatch.delenv("FERRY_DEBUG", raising=False)
    if said is not None:
        assert end_of(monkeypatch, "--version") == 1
        assert " ".join(capsys.readouterr().err.split()) == f"ferry: {said}"
        monkeypatch.setenv("FERRY_DEBUG", "1")
    with pytest.raises(type(error)):
        end_of(monkeypatch, "--version")
