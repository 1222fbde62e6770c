"""Types command lines as they stand in manuals: with the clients themselves, and `gw` as the gateway's name."""

from __future__ import annotations

import re
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from child_process import Child
from gateway_process import Gateway
from ssh_command import environment

_WITH_CONFIG = ("ssh", "sftp", "scp")
_WITHOUT = ("dbclient", "plink")
"""They read no configuration that gives the gateway a short name and a port."""


def free_port() -> int:
    """A port that a client may listen on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Desk:
    """A person's computer: a home folder with a key, and programs that find the gateway as `gw`.

    `words` are the words of a line that stand for others: NAME, a port.
    """

    home: Path
    gateway: Gateway
    key: Path
    words: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ports = self.gateway.ports
        self.words.update(SSHPORT=str(ports.ssh), HTTPPORT=str(ports.http), HOME=str(self.home), FREE=str(free_port()))
        (self.home / "config").write_text(
            f"Host gw\n HostName 127.0.0.1\n Port {ports.ssh}\nHost web\n HostName 127.0.0.1\n Port {ports.http}\n"
            f"Host *\n User dev\n IdentityFile {self.key}\n IdentitiesOnly yes\n IdentityAgent none\n LogLevel INFO\n"
            f" StrictHostKeyChecking accept-new\n UserKnownHostsFile {self.home / 'known_hosts'}\n"
            " GlobalKnownHostsFile none\n"
        )
        for program in _WITH_CONFIG:
            self._program(program, "-F", str(self.home / "config"))

    def _program(self, name: str, *options: str) -> None:
        """`name` with options that its user has in files."""
        folder = self.home / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec /usr/bin/{name} {" ".join(options)} "$@"\n')
        script.chmod(0o755)

    def _dropbear(self) -> None:
        key = self.home / "key.dropbear"
        self._convert("dropbearconvert", "openssh", "dropbear", self.key, key)
        self._program("dbclient", "-T", "-y", "-i", str(key), "-p", str(self.gateway.ports.ssh))

    def _putty(self) -> None:
        key = self.home / "key.ppk"
        self._convert("puttygen", self.key, "-o", key)
        known = [word for line in self.gateway.ask("status")["host_keys"] for word in ("-hostkey", line.split()[1])]
        self._program("plink", "-batch", "-ssh", "-P", str(self.gateway.ports.ssh), "-i", str(key), *known)

    def _convert(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True, env=environment(self.home), timeout=30)

    def filled(self, text: str) -> str:
        """`text` with what its words stand for."""
        return re.sub(r"[A-Z]{4,}|\b\d{4,5}\b", lambda word: self.words.get(word[0], word[0]), text)

    def pattern(self, text: str) -> str:
        """The expression that finds a line with `text` in it, where `…` is anything."""
        return re.escape(self.filled(text)).replace("…", ".*")

    def type(self, typed: str) -> Child:
        """Type a line into a shell."""
        line = self.filled(typed)
        program = line.split()[0]
        if program in _WITHOUT:
            prepare = self._dropbear if program == "dbclient" else self._putty
            prepare()
            line = re.sub(r"\bgw\b", "dev@127.0.0.1", line)
        env = environment(self.home)
        env |= {"PATH": f"{self.home / 'bin'}:{env['PATH']}", "AUTOSSH_PATH": str(self.home / "bin" / "ssh")}
        return Child(["sh", "-c", line], env=env, cwd=self.home)
