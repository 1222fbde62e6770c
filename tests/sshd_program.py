"""Debian's sshd: what it prints, and one that listens."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from child_process import Child
from ferry_command import clean_environment
from ssh_command import environment

SSHD = "/usr/sbin/sshd"
_SEPARATION = Path("/run/sshd")  # it starts with this folder alone


def own_user() -> str:
    """The login name that it takes: that of this process."""
    return pwd.getpwuid(os.getuid()).pw_name


def printed(file: Path | str, host_key: Path, *arguments: str) -> str:
    """The output of `sshd -T` for a configuration file."""
    _SEPARATION.mkdir(exist_ok=True)
    command = [SSHD, "-T", "-f", str(file), "-h", str(host_key), *arguments]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def starts(file: Path, host_key: Path) -> bool:
    """Whether `sshd -t` takes a configuration file."""
    _SEPARATION.mkdir(exist_ok=True)
    command = [SSHD, "-t", "-f", str(file), "-h", str(host_key)]
    return (
        subprocess.run(command, env=clean_environment(), capture_output=True, check=False, timeout=30).returncode == 0
    )


@contextmanager
def listening(folder: Path, port: int, *, config: object = "/dev/null", **settings: object) -> Iterator[Child]:
    """An sshd on a port of loopback that reads no configuration but `settings`, and the file `config`."""
    _SEPARATION.mkdir(exist_ok=True)
    given = {
        "ListenAddress": f"127.0.0.1:{port}", "StrictModes": "no", "PidFile": "none", "UsePAM": "no",
        "PermitRootLogin": "yes", "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no",
    }  # fmt: skip
    options = [word for name, value in (given | settings).items() for word in ("-o", f"{name}={value}")]
    command = [SSHD, "-D", "-e", "-f", str(config), *options]
    with Child(command, env=environment(folder), cwd=folder) as sshd:
        sshd.error_line("Server listening on")
        yield sshd
