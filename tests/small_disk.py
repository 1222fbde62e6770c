"""State on a disk of its own, small enough to be filled, in a mount namespace that outlives the gateway."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from child_process import Child
from ferry_command import PROGRAM, clean_environment
from gateway_process import Gateway
from rsa_host_key import put_rsa_key

SECONDS = 30


def _may_mount() -> bool:
    """Whether this user may make a mount namespace: some hosts and containers forbid it."""
    try:
        return subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "t", "/mnt"], check=False).returncode == 0
    except FileNotFoundError:
        return False


needs_a_disk = pytest.mark.skipif(not _may_mount(), reason="this user may not mount a disk of its own")


def fill(folder: Path) -> Path:
    """Fill a disk with one file. Returns the file."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert shutil.disk_usage(folder).free == 0
    return filler


@dataclass
class OnSmallDisk(Gateway):
    """A gateway whose state is on a disk of 2 MiB, which stays as it is while the gateway is stopped or killed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.state.mkdir(mode=0o700)
        script = f'mount -t tmpfs -o size=2m,mode=700 small "{self.state}" && echo mounted && exec sleep infinity'
        self.holder = Child(["unshare", "-rm", "sh", "-c", script], env=clean_environment(), cwd=self.folder)
        self.holder.line("^mounted")
        put_rsa_key(self.disk)

    def launch(self) -> Child:
        enter = ["nsenter", "-t", str(self.holder.process.pid), "-U", "-m", "--preserve-credentials"]
        command: list[str | Path] = [*enter, PROGRAM, "serve", "--config", self.write_config()]
        self.child = Child(command, env=clean_environment(HOME=str(self.folder)), cwd=self.folder)
        return self.child

    @property
    def disk(self) -> Path:
        """The state folder as the gateway sees it."""
        return Path(f"/proc/{self.holder.process.pid}/root{self.state}")

    def remount(self, options: str) -> None:
        """Change the disk under a running gateway, or between two: `ro`, `rw`."""
        enter = ["nsenter", "-t", str(self.holder.process.pid), "-U", "-m", "--preserve-credentials"]
        subprocess.run([*enter, "mount", "-o", f"remount,{options}", self.state], check=True)

    def close(self) -> None:
        super().close()
        self.holder.close()
