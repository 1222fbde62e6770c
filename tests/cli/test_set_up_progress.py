"""The bar that the set-up shows while pip works, with a pip of the test's."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
from pathlib import Path

import pytest

from ferry_command import clean_environment

CLONE = Path(__file__).resolve().parents[2]
PIP = """\
#!/bin/sh
case "$*" in *--quiet*) exit {code} ;; esac
echo "Collecting rich==15.0.0 (from -r requirements.txt (line 1))"
echo "  Downloading rich.whl"
echo "Collecting typer==0.29.2"
echo "Installing collected packages: rich, typer"
exit {code}
"""


def run(folder: Path, *, code: int, terminal: bool, term: str = "xterm") -> tuple[int, str]:
    """`pip_install` of two packages: its exit code, and what it has shown."""
    (folder / "venv/bin").mkdir(parents=True)
    python = folder / "venv/bin/python"
    python.write_text(PIP.format(code=code))
    python.chmod(0o755)
    (folder / "requirements.txt").write_text("rich==15.0.0\ntyper==0.29.2\n")
    script = f". {CLONE}/scripts/common.sh; pip_install venv --require-hashes -r requirements.txt"
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-eu", "-c", script],
        cwd=folder,
        env=clean_environment(TERM=term),
        stdin=subprocess.DEVNULL,
        stdout=follower if terminal else subprocess.DEVNULL,
    )
    os.close(follower)
    shown = bytearray()
    try:
        while part := os.read(leader, 4096):
            shown += part
    except OSError as end:  # EIO: nobody has the other end any more
        if end.errno != errno.EIO:
            raise
    finally:
        os.close(leader)
    return process.wait(30), shown.decode()


def test_a_terminal_shows_how_far_it_is(tmp_path: Path) -> None:
    code, shown = run(tmp_path, code=0, terminal=True)
    assert code == 0
    steps = [step.rstrip() for step in shown.split("\r") if step.strip()]
    assert steps == [
        f"  [{' ' * 30}] 0/2",
        f"  [{'#' * 15}{' ' * 15}] 1/2 rich",
        f"  [{'#' * 30}] 2/2 typer",
        f"  [{'#' * 30}] 2/2 writing files",
    ]
    assert not (tmp_path / "venv/.pip-failed").exists()


@pytest.mark.parametrize(("terminal", "term"), [(True, "xterm"), (True, "dumb"), (False, "xterm")])
def test_a_failure_of_pip_is_a_failure_of_the_set_up(tmp_path: Path, *, terminal: bool, term: str) -> None:
    code, shown = run(tmp_path, code=7, terminal=terminal, term=term)
    assert code == 7
    assert ("#" in shown) is (terminal and term == "xterm")
