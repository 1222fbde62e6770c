"""Programs that take their forwards on the command line only: each forward is a connection of its own."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from child_process import Child
from ssh_command import StockSsh, environment

from .client import SECONDS, CannotDo, Failed, Login
from .command_line import joined, ran, version


class OneShot(ABC):
    """A program that takes its forwards on the command line only: each is a connection of its own."""

    direct_option: str | None = None
    more_environment: Mapping[str, str] = MappingProxyType({})
    no_direct = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, int], Child] = {}
        self._streams: list[subprocess.Popen[bytes]] = []

    def login(self, login: Login) -> None:
        self._login = login
        self._prepare(login)
        done = self._run("whoami")
        if done.returncode != 0:
            raise Failed(f"exit code {done.returncode}: {done.stderr.decode().strip()}")

    def _prepare(self, login: Login) -> None:
        """Convert the key, if the program has a format of its own."""
        return

    @abstractmethod
    def _command(self, *options: str) -> list[str]:
        """The command line up to the host, inclusive."""

    def forward(self, host: str, port: int, target: int) -> int:
        command = self._command("-R", f"{host}:{port}:127.0.0.1:{target}")
        child = Child(command, env=environment(self._folder), cwd=self._folder, keyboard=True)
        self._running[host, port] = child
        line = child.line("^(Forwarding|Refused) .*", SECONDS)[0]
        if line.startswith("Refused"):
            raise Failed(line)
        bound = port or int(line.rpartition(":")[2])
        self._running[host, bound] = child
        return bound

    def cancel(self, host: str, port: int) -> str:
        self._end(self._running.pop((host, port)))
        return "by ending the program, which has no other way"

    def _run(self, command: str) -> subprocess.CompletedProcess[bytes]:
        return ran([*self._command(), *command.split()], self._folder, self.more_environment)

    def exec(self, command: str) -> tuple[int, bytes]:
        done = self._run(command)
        return done.returncode, done.stdout

    def direct(self, host: str, port: int, target: int) -> None:
        if self.direct_option is None:
            raise CannotDo(self.no_direct)
        self._streams.append(joined(self._command(self.direct_option, f"{host}:{port}"), self._folder, target))

    def rekey(self) -> None:
        """By an option, if at all."""
        return

    def _end(self, child: Child) -> None:
        child.process.terminate()
        child.exit_code(SECONDS)
        child.close()

    def quit(self) -> None:
        for child in dict.fromkeys(self._running.values()):
            self._end(child)
        self._running.clear()

    def close(self) -> None:
        for stream in self._streams:
            stream.kill()
            stream.wait()
        for child in self._running.values():
            child.close()


class Dropbear(OneShot):
    direct_option = "-B"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.version = version("dbclient", "-V")

    def _prepare(self, login: Login) -> None:
        if login.rekey_bytes:
            raise CannotDo("Dropbear exchanges keys after 1 GiB, which is fixed when it is compiled")
        ran(["dropbearconvert", "openssh", "dropbear", login.key, self._folder / "dropbear_key"], self._folder)

    def _command(self, *options: str) -> list[str]:
        login = self._login
        where = ["-p", str(login.port), f"{login.user}@{login.host}"]
        return ["dbclient", "-T", "-y", "-i", str(self._folder / "dropbear_key"), *options, *where]


class Plink(OneShot):
    direct_option = "-nc"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.version = version("plink", "-V")

    def forward(self, host: str, port: int, target: int) -> int:
        if port == 0:
            raise CannotDo("plink drops a forward of port 0 without a word, and asks for nothing")
        return super().forward(host, port, target)

    def _prepare(self, login: Login) -> None:
        ran(["puttygen", login.key, "-o", self._folder / "key.ppk"], self._folder)
        saved = self._folder / ".putty" / "sessions" / "saved"
        saved.parent.mkdir(parents=True, exist_ok=True)
        limit = login.rekey_bytes or "1G"
        saved.write_text(f"HostName={login.host}\nProtocol=ssh\nPortNumber={login.port}\nRekeyBytes={limit}\n")

    def _command(self, *options: str) -> list[str]:
        login = self._login
        keys = [word for fingerprint in login.host_keys for word in ("-hostkey", fingerprint)]
        key = ["-i", str(self._folder / "key.ppk")]
        return [
            "plink",
            "-batch",
            "-T",
            "-load",
            "saved",
            *key,
            *keys,
            "-l",
            login.user,
            *options,
        ]  # saved has the host


class Autossh(OneShot):
    more_environment = MappingProxyType({"AUTOSSH_GATETIME": "0"})  # else what ends within 30 s counts as failed
    no_direct = "autossh keeps a tunnel up; streams are what `ssh` itself is for"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.version = version("autossh", "-V")

    def exec(self, command: str) -> tuple[int, bytes]:
        if command != "whoami":
            raise CannotDo("autossh starts `ssh` again when a command fails; commands are what `ssh` itself is for")
        return super().exec(command)

    def _command(self, *options: str) -> list[str]:
        login = self._login
        ssh = StockSsh(self._folder, login.host, login.port, login.key)
        more = ["-o", f"RekeyLimit={login.rekey_bytes}"] if login.rekey_bytes else []
        return ["autossh", "-M", "0", *ssh.command("-T", *more, *options)[1:]]
