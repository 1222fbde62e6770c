"""The program as a whole: its launcher, its help, its exit codes, and the pages generated from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from child_process import Child
from ferry.cli.docs import Page, text_of
from ferry.cli.main import exit_code, program
from ferry.errors import FerryError, InvalidInput, StartupError
from ferry_command import PROGRAM, Ran, clean_environment, ferry, ferry_on_terminal
from gateway_process import Gateway

CLONE = Path(__file__).resolve().parents[2]
LAUNCHER = CLONE / "ferry"
COMMANDS = get_group(program())


@pytest.mark.parametrize("page", [Page.CONFIGURATION, Page.COMMANDS])
def test_the_reference_pages_say_what_the_program_says(page: Page) -> None:
    written = (CLONE / "docs" / "reference" / f"{page}.md").read_text("utf-8")
    assert written == text_of(page, COMMANDS), "out of date: run `make docs`"


def test_docs_prints_the_page(tmp_path: Path) -> None:
    assert ferry("docs", "configuration", cwd=tmp_path).out == text_of(Page.CONFIGURATION, COMMANDS)
    wide = ferry("docs", "commands", cwd=tmp_path, env=clean_environment(COLUMNS="200"))
    assert wide.out == text_of(Page.COMMANDS, COMMANDS)


def test_the_launcher_works_through_links_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "relative").symlink_to("../absolute")
    (tmp_path / "absolute").symlink_to(LAUNCHER)
    ran = ferry("--version", cwd=tmp_path, program=tmp_path / "bin" / "relative")
    assert (ran.code, ran.out) == (0, "ferry 0.1.0\n")
    looked = ferry("status", cwd=tmp_path, program=tmp_path / "absolute").err
    assert f"  {CLONE}/ferry-data (the clone): " in looked or looked == "", "a gateway may run in the clone"


def test_the_launcher_says_when_nothing_is_set_up(tmp_path: Path) -> None:
    copy = tmp_path / "ferry"
    copy.write_bytes(LAUNCHER.read_bytes())
    copy.chmod(0o755)
    ran = ferry("--version", cwd=tmp_path, program=copy)
    assert (ran.code, ran.err) == (1, f"ferry: not set up yet: run `make setup` in {tmp_path} first\n")


def test_help_names_every_command(tmp_path: Path) -> None:
    out = ferry("--help", cwd=tmp_path).out
    for command in (
        "serve",
        "status",
        "ls",
        "close",
        "events",
        "check-config",
        "init",
        "install-service",
        "ca",
        "docs",
    ):
        assert f"\n  {command} " in out
    _, _, listed = out.partition("Commands:\n")
    assert all(line.endswith(".") and not line.endswith("...") for line in listed.splitlines())  # none is cut


def test_help_and_version_in_all_their_spellings(tmp_path: Path) -> None:
    listed = ferry("--help", cwd=tmp_path)
    for spelling in ("-h", "help"):
        assert ferry(spelling, cwd=tmp_path) == listed
    about_ls = ferry("ls", "--help", cwd=tmp_path)
    assert "Usage: ferry ls [OPTIONS]" in about_ls.out
    for arguments in (("ls", "-h"), ("help", "ls")):
        assert ferry(*arguments, cwd=tmp_path) == about_ls
    for spelling in ("--version", "-V", "version"):
        assert ferry(spelling, cwd=tmp_path) == Ran(0, "ferry 0.1.0\n", "")


def test_without_a_command_the_help_is_an_error(tmp_path: Path) -> None:
    assert ferry(cwd=tmp_path) == Ran(2, "", ferry("--help", cwd=tmp_path).out)


def test_the_manual_page_shows_options_with_their_values_and_arguments_without(tmp_path: Path) -> None:
    page = ferry("docs", "man", cwd=tmp_path).out
    assert "\n.B \\-o, \\-\\-output <text|json>\nText for people" in page
    assert "\n.B \\-\\-json\nThe same as" in page
    assert "\n.B TARGET\nA name, hostname" in page


def test_help_for_a_command_that_is_not_there(tmp_path: Path) -> None:
    ran = ferry("help", "sttus", cwd=tmp_path)
    assert (ran.code, ran.err) == (2, "ferry: no command 'sttus': did you mean status?\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("sttus",), "no such command 'sttus'. Did you mean 'status'? `ferry help` lists the commands"),
        (
            ("events", "-n", "x"),
            "invalid value for '--last' / '-n': it is no whole number: `ferry events -h` shows how",
        ),
        (("completion",), "missing argument 'shell'. Choose from: bash, zsh, fish: `ferry completion -h` shows how it"),
        (("ls", "-o", "yaml"), "invalid value for '--output' / '-o': 'yaml' is not one of 'text', 'json': `ferry ls"),
    ],
)
def test_a_wrong_command_line_is_one_text_with_its_fix(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    ran = ferry(*arguments, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"ferry: {says}")


def test_whether_a_path_can_be_read_is_said_by_the_command_itself() -> None:
    """It knows whose file that is, and so what to do; the library says that the command is used wrongly."""
    parameters: list[tuple[str, Any]] = [(name, each) for name, one in COMMANDS.commands.items() for each in one.params]
    judged = {
        (name, parameter.name)
        for name, parameter in parameters
        if parameter.type_descriptor.is_path and parameter.type_descriptor.parameter_info.readable
    }
    assert judged == set()


@pytest.mark.parametrize(
    "arguments",
    [
        *((name,) for name in ("status", "ls", "unblock", "events", "ca")),
        *((name, "--json") for name in ("status", "ls", "unblock", "events", "ca")),
        ("check-config", "--no-dns"),
        ("docs", "configuration"),
        ("help",),
        ("--help",),
        ("--version",),
        ("ls", "--help"),
    ],
)
def test_a_full_disk_is_an_error_without_a_traceback(gateway: Gateway, arguments: tuple[str, ...]) -> None:
    command: list[str | Path] = [PROGRAM, *arguments]
    if arguments[0] in ("status", "ls", "unblock", "events", "ca", "check-config") and "--help" not in arguments:
        command += ["--config", gateway.folder / "ferry.toml"]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            command, env=clean_environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    says = "cannot write to standard output: No space left on device"
    told = json.loads(ran.stderr)["error"] if "--json" in arguments else ran.stderr
    assert (ran.returncode, told) == (1, says if "--json" in arguments else f"ferry: {says}\n")


@pytest.mark.parametrize("arguments", [("docs", "configuration"), ("--help",)])
def test_a_reader_that_has_gone_is_no_error(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        ran = subprocess.run(
            [PROGRAM, *arguments], env=clean_environment(), stdout=gone, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.stderr == ""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("version >&-", 0),
        ("ls --state . >&- 2>&-", 1),
        ("ls --state . 2>/dev/full", 1),
        ("ls --bogus 2>/dev/full", 2),
        ("docs configuration | head -n 1 | grep -c Configuration; exit ${PIPESTATUS[0]}", 0),
        ("docs commands --json | head -c 5 >/dev/null; exit ${PIPESTATUS[0]}", 0),
    ],
)
def test_an_output_that_nobody_reads_changes_no_exit_code(tmp_path: Path, command: str, code: int) -> None:
    ran = subprocess.run(
        ["bash", "-c", f'"{PROGRAM}" {command}'],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (code, "")


def test_a_target_that_is_no_text_is_looked_up_as_it_is(gateway: Gateway, tmp_path: Path) -> None:
    ran = ferry("close", os.fsdecode(b"caf\xe9"), "--state", gateway.state, cwd=tmp_path)
    assert ran.code == 1
    assert ran.err.startswith("ferry: no ")


@pytest.mark.parametrize("arguments", [("status",), ("events",), ("check-config", "--no-dns")])
def test_colour_on_a_terminal_that_wants_it(gateway: Gateway, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command: tuple[str | Path, ...] = (*arguments, "--config", gateway.folder / "ferry.toml")
    coloured = ferry_on_terminal(*command, cwd=tmp_path)
    assert "\x1b[" in coloured.out
    assert "\x1b[" not in ferry(*command, cwd=tmp_path).out
    for extra in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = ferry_on_terminal(*command, cwd=tmp_path, extra=extra)
        assert "\x1b[" not in plain.out
    if arguments != ("events",):
        return
    for columns in (80, 100):
        shown = ferry_on_terminal(*command, cwd=tmp_path, columns=columns, extra={"NO_COLOR": "1"}).out.splitlines()
        assert shown
        assert max(map(len, shown)) <= columns


def test_exit_codes() -> None:
    assert [exit_code(error("x")) for error in (InvalidInput, StartupError, FerryError)] == [2, 3, 1]


def test_serve_refuses_a_wrong_flag_before_it_starts(tmp_path: Path) -> None:
    ran = ferry("serve", "--ssh-listen", "22", cwd=tmp_path)
    assert ran.code == 2
    assert ran.err.startswith("ferry: --ssh-listen: '22' is not an address: write \"127.0.0.1:22\"")
    assert list(tmp_path.iterdir()) == []


def test_a_ca_that_is_not_there(tmp_path: Path) -> None:
    ran = ferry("ca", "--state", tmp_path, cwd=tmp_path)
    assert ran.code == 1
    assert f"  --state: no local CA at {tmp_path}/ca/ca.crt: the first start of `ferry serve` makes it\n" in ran.err


def test_a_gateway_serves_where_its_first_lines_cannot_be_written(tmp_path: Path) -> None:
    """Its output may be a file on a full disk."""
    (tmp_path / "f.toml").write_text(
        '[ssh]\nlisten = "127.0.0.1:0"\n[http]\nlisten = "127.0.0.1:0"\n[https]\nlisten = []\n[admin]\nlisten = []\n'
    )
    command: list[str | Path] = ["sh", "-c", 'exec "$0" serve --config f.toml >/dev/full', PROGRAM]
    with Child(command, env=clean_environment(), cwd=tmp_path) as child:
        child.err.wait("gateway.started")
        child.signal(signal.SIGTERM)
        assert child.exit_code() == 0, child.err.text
