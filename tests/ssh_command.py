"""Stock OpenSSH as people run it, without this machine's configuration, agent or known hosts."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from child_process import SECONDS, Child
from ferry_command import clean_environment


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass(frozen=True, slots=True)
class StockSsh:
    """How to reach one gateway as one user. `key` None: a client without any key."""

    folder: Path
    host: str
    port: int
    key: Path | None
    agent: Path | None = None
    """The socket of an agent that signs for `key`, a public one."""

    @property
    def options(self) -> list[str]:
        identity = ["-i", str(self.key)] if self.key else ["-o", "PubkeyAuthentication=no", "-o", "IdentityFile=none"]
        return [
            *("-F", "none", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"),
            *("-o", "GlobalKnownHostsFile=none"),
            *(
                "-o",
                "StrictHostKeyChecking=accept-new",
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                f"IdentityAgent={self.agent or 'none'}",
            ),
            *("-o", "LogLevel=INFO", *identity),
        ]

    def command(self, *arguments: str, user: str = "dev", words: str = "") -> list[str]:
        """The whole command line; `arguments` stand before the host, `words` after it."""
        end = [f"{user}@{self.host}", *words.split()]
        return ["ssh", *self.options, "-p", str(self.port), *arguments, *end]

    def start(
        self,
        *arguments: str,
        user: str = "dev",
        words: str = "",
        keyboard: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Child:
        """Start it and go on, with `env` beside the usual environment."""
        return Child(
            self.command(*arguments, user=user, words=words),
            env=environment(self.folder) | dict(env or {}),
            cwd=self.folder,
            keyboard=keyboard,
        )

    def run(self, *arguments: str, user: str = "dev", words: str = "", seconds: float = SECONDS) -> Ended:
        """Run it to its end."""
        return run(self.command(*arguments, user=user, words=words), folder=self.folder, seconds=seconds)


def run(command: list[str], *, folder: Path, seconds: float = SECONDS, stdin: bytes = b"") -> Ended:
    """Any command to its end."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), input=stdin, capture_output=True, timeout=seconds, check=False
    )
    return Ended(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))


def environment(folder: Path) -> dict[str, str]:
    """An environment with `folder` as the home, so that ssh reads and writes nothing of the user's."""
    return clean_environment(HOME=str(folder))


def make_key(path: Path, kind: str = "ed25519", comment: str = "", passphrase: str = "") -> Path:
    """A new key pair; the public half lies beside it as `.pub`."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True, timeout=30)
    return path


def public_key(key: Path) -> str:
    """The type and the key in its `.pub` file, without the comment."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


def fingerprint(key: Path) -> str:
    """`SHA256:...` of a key file."""
    done = subprocess.run(["ssh-keygen", "-l", "-f", str(key)], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.split()[1]
