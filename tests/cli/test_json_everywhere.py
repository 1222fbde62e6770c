"""JSON, before or behind the command: each answer is one document on stdout, each error an object on stderr."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from child_process import Child
from ferry.cli.described import described
from ferry.cli.main import main, program
from ferry.cli.options import wants_json
from ferry_command import PROGRAM, clean_environment
from gateway_process import Gateway

Asked = Callable[..., tuple[object, Any, Any]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Asked:
    """Runs a command line in this process. Returns the exit code, what stdout says and what stderr says, both as JSON."""
    monkeypatch.chdir(tmp_path)
    for name in ("FERRY_DEBUG", "FERRY_STATE", "FERRY_CLONE"):
        monkeypatch.delenv(name, raising=False)

    def ask(*words: str | Path) -> tuple[object, Any, Any]:
        monkeypatch.setattr(sys, "argv", ["ferry", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, json.loads(out or "null"), json.loads(err or "null")

    return ask


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "ls"),
        ("ls", "--json"),
        ("--output", "json", "ls"),
        ("--output=json", "ls"),
        ("-o", "json", "ls"),
        ("-ojson", "ls"),
        ("ls", "--output", "json"),
        ("ls", "-ojson"),
        ("--json", "ls", "--output", "text"),
    ],
)
def test_json_may_be_asked_for_before_and_behind_a_command(
    gateway: Gateway, asked: Asked, words: tuple[str, ...]
) -> None:
    assert asked(*words, "--state", gateway.state) == (0, [], None)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("", False),
        ("close json", False),
        ("close --state json", False),
        ("close x --output text", False),
        ("close -- --json", False),
        ("close --json -- x", True),
        ("close x -o json", True),
    ],
)
def test_json_is_asked_for_by_options_alone(words: str, *, wanted: bool) -> None:
    assert wants_json(words.split()) is wanted


def test_every_command_has_it() -> None:
    for command in described(get_group(program())):
        names = {name for option in command.options for name in option.names}
        assert {"--json", "--output", "-o"} <= names, command.name


@pytest.mark.parametrize(
    ("words", "code", "error", "fix"),
    [
        (("ls", "--state", "."), 1, "no running gateway found. Looked in\n", ""),
        (("ls", "--connections", "--names"), 2, "--connections and --names are two lists", ""),
        (("ls", "--bogus"), 2, "no such option: --bogus", "`ferry ls -h` shows how it is used"),
        (("close",), 2, "missing argument 'target'", "`ferry close -h` shows how it is used"),
        (("ls", "--output", "yaml"), 2, "invalid value for '--output' / '-o': 'yaml'", "`ferry ls -h` shows how"),
        (("sttus",), 2, "no such command 'sttus'. Did you mean", "`ferry help` lists the commands"),
        ((), 2, "missing command", "`ferry help` lists the commands"),
        (("init",), 2, "standard input is not a terminal: give --domain and --access", ""),
        (("serve", "--ssh-listen", "22"), 2, "--ssh-listen: '22' is not an address", ""),
        (("restore", "none.tar.gz", "--state", "new"), 2, "none.tar.gz does not exist", ""),
        (("install-service", "--config", "none.toml"), 2, "none.toml does not exist: write it with", ""),
    ],
)
def test_an_error_is_one_object_on_stderr(
    asked: Asked, words: tuple[str, ...], code: int, error: str, fix: str
) -> None:
    ended, out, err = asked("--json", *words)
    assert (ended, out, err.keys()) == (code, None, {"error", "fix"})
    assert err["error"].startswith(error)
    assert err["fix"].startswith(fix)


def test_an_error_of_the_gateway_is_the_object_of_its_api(gateway: Gateway, asked: Asked) -> None:
    code, out, err = asked("close", "nothing", "--json", "--state", gateway.state)
    assert (code, out, err["error"].startswith("no "), err["fix"] != "") == (1, None, True, True)


def test_what_has_pages_for_people_has_documents_for_programs(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text('state = "s"\n')
    _, page, _ = asked("--json", "docs", "man")
    assert (page["page"], page["text"][:3]) == ("man", ".TH")
    _, completion, _ = asked("completion", "fish", "--json")
    assert (completion["shell"], "complete -c ferry" in completion["text"]) == ("fish", True)
    for version in (("--json", "--version"), ("--json", "version"), ("version", "--output", "json")):
        assert asked(*version)[1].keys() == {"version"}
    _, commands, _ = asked("--json", "help")
    assert {"name", "help", "usage", "parameters"} <= commands[0].keys()
    for words in (("help", "ls"), ("ls", "--help"), ("ls", "-h")):
        assert asked("--json", *words)[1]["name"] == "ls"
    _, unit, _ = asked("install-service", "--print", "--config", "f.toml", "--json")
    assert unit["unit"] == "/etc/systemd/system/ferry.service"
    assert "[Service]\n" in unit["text"]
    (tmp_path / "sshd_config").write_text("Port 2222\nX11Forwarding yes\n")
    _, settings, notes = asked("--json", "import", "sshd_config", "sshd_config")
    assert (settings["file"], "2222" in settings["text"], notes) == ("sshd_config", True, None)
    assert any("X11Forwarding" in name for each in settings["left"] for name in each["settings"])


def test_a_gateway_whose_answers_are_json_prints_no_line_for_people(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        '[ssh]\nlisten = "127.0.0.1:0"\nkeepalive_interval = "0"\n'
        '[http]\nlisten = "127.0.0.1:0"\n[https]\nlisten = []\n[admin]\nlisten = []\n'
    )
    command: list[str | Path] = [PROGRAM, "--json", "serve", "--config", "f.toml", "--log-format", "human"]
    with Child(command, env=clean_environment(), cwd=tmp_path) as child:
        child.err.wait("gateway.started")
        child.signal(signal.SIGTERM)
        assert child.exit_code() == 0
    assert child.out.lines == []
    noted, *logged = [json.loads(line) for line in child.err.lines]
    assert noted["note"].startswith('ssh.keepalive_interval = "0" turns keepalives off')
    assert logged
