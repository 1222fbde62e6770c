"""Runs the installed `ferry` program as a person would: a process of its own, with its own environment."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

PROGRAM = Path(sys.prefix) / "bin" / "ferry"
SECONDS = 60
WIDE = "1000"  # columns, in which no text is broken
_KEPT = frozenset({"LANG", "LANGUAGE", "LOCPATH", "PATH", "TMPDIR", "TZ"})


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def clean_environment(**extra: str) -> dict[str, str]:
    """For programs that tests start: nothing that says who runs them. Locale, time zone and umask stay, for Ferry must not
    care what they are."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
    return kept | {"HOME": "/nonexistent", "TERM": "xterm"} | extra


def ferry(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, program: Path = PROGRAM) -> Ran:
    """Run it to its end, without a terminal. Its texts are not broken into lines, so that a test can look for a part of
    one, unless `env` says otherwise."""
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=cwd,
        env=dict(env) if env is not None else clean_environment(COLUMNS=WIDE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def ferry_on_terminal(
    *arguments: str | Path, cwd: Path, columns: int = 100, extra: Mapping[str, str] = MappingProxyType({})
) -> Ran:
    """Run it with a terminal of `columns` as its output. `extra`: variables."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, columns))
    with subprocess.Popen(
        [str(PROGRAM), *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**extra),
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(follower)
        shown = bytearray()
        try:
            while part := os.read(leader, 65536):
                shown += part
        except OSError as end:  # EIO: the program has closed its end
            if end.errno != errno.EIO:
                raise
        finally:
            os.close(leader)
        assert process.stderr
        return Ran(process.wait(SECONDS), shown.decode().replace("\r\n", "\n"), process.stderr.read())


def ferry_at_terminal(*arguments: str | Path, cwd: Path, typed: Sequence[str]) -> Ran:
    """Run it with a terminal as its input, into which each of `typed` and Enter has been typed, and Ctrl-D at the end."""
    leader, follower = pty.openpty()
    try:
        os.write(leader, "".join(f"{line}\n" for line in typed).encode() + b"\x04")
        done = subprocess.run(
            [str(PROGRAM), *map(str, arguments)],
            cwd=cwd,
            env=clean_environment(),
            stdin=follower,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(leader)
        os.close(follower)
    return Ran(done.returncode, done.stdout, done.stderr)
