"""The stacks: what each needs, how its program is built, and how it is started."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .client import Client
from .one_shot import Autossh, Dropbear, Plink
from .openssh import OpenSsh
from .program import Program

HERE = Path(__file__).parent
BUILD = HERE / ".build"
CLIENTS = HERE / "clients"
_NPM = "npm ci --omit=optional --ignore-scripts --no-audit --no-fund"
_MAVEN = "mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib"
_JAVAC = "javac -d classes -cp lib/* src/main/java/Client.java"
_GCC = "gcc -Wall -Wextra -O2 -o client client.c -l"


class BuildFailed(Exception):
    """A program was not built; the text is what the tool said."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One line of the table. `folder` is empty for what Debian or the virtual environment brings whole."""

    name: str
    language: str
    needs: tuple[str, ...]
    """Programs that must be there."""
    make: Callable[[Path], Client] | None = None
    folder: str = ""
    build: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    remark: str = ""
    """What somebody must know who reads its failures."""

    @property
    def missing(self) -> str:
        """The first program that is not there; empty if all are."""
        return next((tool for tool in self.needs if shutil.which(tool) is None), "")

    def prepared(self) -> Callable[[Path], Client]:
        """Build it if its sources have changed; then what starts a client in a folder. Raises BuildFailed."""
        if self.make is not None:
            return self.make
        place = BUILD / self.folder
        sources = CLIENTS / self.folder
        if self.build:
            _build(self.build, sources, place)
        command = [word.replace("{build}", str(place)).replace("{sources}", str(sources)) for word in self.run]
        return lambda folder: Program(command, folder)


def _build(commands: tuple[str, ...], sources: Path, place: Path) -> None:
    files = sorted(path for path in [*sources.rglob("*"), *CLIENTS.glob("c/*")] if path.is_file())
    wanted = hashlib.sha256(b"".join([*(path.read_bytes() for path in files), repr(commands).encode()])).hexdigest()
    stamp = place / ".built"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.copytree(sources, place, dirs_exist_ok=True)
    shutil.copytree(CLIENTS / "c", place.parent / "c", dirs_exist_ok=True)
    for command in commands:
        done = subprocess.run(
            command.split(), cwd=place, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise BuildFailed(f"{command}: {(done.stdout + done.stderr).strip()[-500:]}")
    stamp.write_text(wanted)


def _python(name: str, module: str) -> Stack:
    return Stack(name, "Python", (), folder="python", run=(sys.executable, "{sources}/" + module))


_JSCH = (
    "closes the whole local connection when the visitor has half-closed (`Channel.eof_remote` closes the socket's stream), "
    "with any server: the end of the answer is then lost in some runs (behind OpenSSH's sshd in 11 of 20 tries)"
)


def _java(name: str, folder: str, remark: str = "") -> Stack:
    run = ("java", "-cp", f"{{build}}/classes{os.pathsep}{{build}}/lib/*", "Client")
    return Stack(name, "Java", ("java", "javac", "mvn"), folder=folder, build=(_MAVEN, _JAVAC), run=run, remark=remark)


def _c(name: str) -> Stack:
    return Stack(name, "C", ("gcc",), folder=name, build=(_GCC + name.removeprefix("lib"),), run=("{build}/client",))


PARAMIKO = _python("paramiko", "with_paramiko.py")
ASYNCSSH = _python("asyncssh", "with_asyncssh.py")
OPENSSH = Stack("OpenSSH", "C", ("ssh",), make=OpenSsh)
DROPBEAR = Stack("Dropbear dbclient", "C", ("dbclient", "dropbearconvert"), make=Dropbear)
PLINK = Stack("PuTTY plink", "C", ("plink", "puttygen"), make=Plink)
AUTOSSH = Stack("autossh", "C", ("autossh",), make=Autossh)
DEBIAN_AND_PYTHON = (OPENSSH, DROPBEAR, PLINK, AUTOSSH, PARAMIKO, ASYNCSSH)

STACKS = (
    *DEBIAN_AND_PYTHON,
    _c("libssh"),
    _c("libssh2"),
    Stack("x/crypto/ssh", "Go", ("go",), folder="go", build=("go build -o client .",), run=("{build}/client",)),
    Stack("ssh2", "JavaScript", ("node", "npm"), folder="node", build=(_NPM,), run=("node", "{build}/client.js")),
    _java("JSch", "jsch", _JSCH),
    _java("Apache MINA SSHD", "mina"),
    Stack(
        "russh", "Rust", ("cargo",),
        folder="russh", build=("cargo build --quiet --release",), run=("{build}/target/release/client",),
    ),
)  # fmt: skip
