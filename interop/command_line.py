"""What all clients that are programs with a command line need."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssh_command import environment

from .client import SECONDS


def ran(
    command: Sequence[str | Path], folder: Path, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """The command, run to its end with nobody at the keyboard and `folder` as its home."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment(folder) | dict(more or {}),
        stdin=subprocess.DEVNULL,
        timeout=SECONDS,
    )


def version(*command: str) -> str:
    """The first line that the command prints, on either stream."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].partition(",")[0].strip()


def joined(command: Sequence[str], folder: Path, target: int) -> subprocess.Popen[bytes]:
    """The command, with a connection to 127.0.0.1:target as its standard input and output."""
    with socket.create_connection(("127.0.0.1", target)) as local:
        number = local.fileno()
        return subprocess.Popen(
            command, stdin=number, stdout=number, stderr=subprocess.DEVNULL, cwd=folder, env=environment(folder)
        )
