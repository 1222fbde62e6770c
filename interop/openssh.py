"""Stock OpenSSH: one master connection, and forwards, commands and streams over it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from child_process import Child
from ssh_command import StockSsh

from .client import SECONDS, Failed, Login
from .command_line import joined, ran


class OpenSsh:
    """`ssh -M`, then `-O forward`, `-O cancel`, `-W` and commands, as people with a ControlPath have it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control = folder / "control"
        self._master: Child | None = None
        self._asked: dict[tuple[str, int], str] = {}
        self._streams: list[subprocess.Popen[bytes]] = []
        self.version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.partition(",")[
            0
        ]

    def login(self, login: Login) -> None:
        self._ssh = StockSsh(self._folder, login.host, login.port, login.key)
        options = ["-o", f"RekeyLimit={login.rekey_bytes}"] if login.rekey_bytes else []
        self._master = self._ssh.start("-M", "-S", str(self._control), "-N", "-v", *options)
        line = self._master.error_line("Entering interactive session|Permission denied", SECONDS).string
        if "denied" in line:
            raise Failed(line)

    def _run(self, *options: str, words: str = "") -> subprocess.CompletedProcess[bytes]:
        return ran(self._ssh.command("-S", str(self._control), *options, words=words), self._folder)

    def _ask(self, *options: str) -> str:
        done = self._run(*options)
        if done.returncode != 0:
            raise Failed(done.stderr.decode().strip())
        return done.stdout.decode().strip()

    def forward(self, host: str, port: int, target: int) -> int:
        asked = f"{host}:{port}:127.0.0.1:{target}"
        allocated = self._ask("-O", "forward", "-R", asked)
        bound = port or int(allocated)
        self._asked[host, bound] = asked
        return bound

    def cancel(self, host: str, port: int) -> str:
        self._ask("-O", "cancel", "-R", self._asked.pop((host, port)))
        return ""

    def exec(self, command: str) -> tuple[int, bytes]:
        done = self._run(words=command)
        return done.returncode, done.stdout

    def direct(self, host: str, port: int, target: int) -> None:
        self._streams.append(
            joined(self._ssh.command("-S", str(self._control), "-W", f"{host}:{port}"), self._folder, target)
        )

    def rekey(self) -> None:
        """By RekeyLimit."""

    def quit(self) -> None:
        assert self._master is not None
        self._ask("-O", "exit")
        self._master.exit_code(SECONDS)  # 255, as always after -O exit

    def close(self) -> None:
        for stream in self._streams:
            stream.kill()
            stream.wait()
        if self._master is not None:
            self._master.close()
