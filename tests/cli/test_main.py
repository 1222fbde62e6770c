"""The start and the exit codes of the program, in the test's own process."""

from __future__ import annotations

import sys

import pytest

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
