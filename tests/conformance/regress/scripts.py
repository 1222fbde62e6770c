"""OpenSSH's scripts that run against Ferry, and how one is run.

They are those of Debian's package `openssh-tests`, as they are. Each runs in a folder and on ports of its own; where a script
has ports of its own in its text, they are replaced on the way (`Script.ports`), so that several can run at once.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ferry.protocol.authorized_keys import KEY_FIELDS
from ferry.ssh.wire.algorithms import CIPHERS, KEX_ALGORITHMS, MACS
from ferry_command import clean_environment
from gateway_process import PortBlock

REGRESS = Path("/usr/lib/openssh/regress")
"""Where the package puts them."""
STUB = Path(__file__).with_name("stub.py")
TESTS = Path(__file__).parents[2]
SECONDS = 900  # for one script: integrity takes three minutes beside others
_STARTS = 20  # seconds in which the program of sshd's shape is ready
_OF_A_HUNDRED = 73  # ports that forwarding.sh uses of it
_TOOLS = ("netcat", "modpipe", "mkdtemp", "setuid-allowed", "check-perm")
_USER_KEYS = tuple(KEY_FIELDS)
_HOST_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
OFFERED: Mapping[str, tuple[str, ...]] = {
    "kex": KEX_ALGORITHMS,
    "cipher": CIPHERS,
    "cipher-auth": CIPHERS,
    "mac": MACS,
    "compression": ("none",),
    "key-plain": _USER_KEYS,
}
"""What `ssh -Q` may answer the scripts: they try each algorithm that their ssh has, and Ferry has fewer."""


@dataclass(frozen=True)
class Script:
    """One that runs."""

    name: str
    edits: Mapping[str, str] = field(default_factory=dict)
    """Texts in it to replace. `@1@` and `@2@` become ports of its own, and `@00@` the hundreds of some others."""
    quick: bool = False
    """It runs in `make test` too."""
    keys: tuple[str, ...] = _USER_KEYS
    """The types of keys that it makes."""


_FIRST = 'grep "Invalid SSH identification string" >/dev/null 2>&1 \\\n     || fail "connect to '
_OWN_FIRST = _FIRST.replace("Invalid SSH identification string", "SSH-2.0-Ferry")
_LOCAL = 'local forward path failed"'
_REMOTE = 'remote forwarded path failed"'
_FOLDER = "script"
"""The name of the folder in which a script runs."""
_WITH_SOCKETS = f"""mkdir $OBJ/keys
mv $OBJ/authorized_keys_$USER $OBJ/keys/{_FOLDER}.keys
sed -i "s:authorized_keys_%u:keys:" $OBJ/sshd_config
echo "AllowStreamLocalForwarding yes" >>$OBJ/sshd_config"""
"""Ferry opens sockets in the folder of an identity, where the operator allows it. The identity is called as the folder of the
script: a file in a folder of keys gives it that name."""
_CHAIN = 'trace "transfer over chained unix domain socket forwards and check result"'

SCRIPTS = (
    Script("connect", quick=True),
    Script("connect-uri"),
    Script("proto-version", quick=True),
    Script("proto-mismatch"),
    Script("exit-status"),
    Script("exit-status-signal"),
    Script("transfer"),
    Script("rekey"),
    Script("stderr-data"),
    Script("stderr-after-eof"),
    Script("broken-pipe"),
    Script("try-ciphers"),
    Script("yes-head"),
    Script("login-timeout"),
    Script("keyscan", keys=_HOST_KEYS),
    Script("key-options", quick=True),
    # The type of the host key is that of the user's key there, and no host key of Ferry's is a security key
    Script("keytype", edits={'htypes="$ut"': 'case "$ut" in *-sk) htypes=ed25519-512 ;; *) htypes="$ut" ;; esac'}),
    Script("kextype"),
    Script("integrity"),
    Script(
        "cert-userkey",
        edits={
            # From OpenSSH 10.3 on a certificate without principals lets nobody in, and so it is here
            '"empty principals"	success ""': '"empty principals"	failure ""',
            # An RSA key signs with SHA-1 there
            'rsa-sha2-*) n="$1" ;;': 'rsa) n="rsa-sha2-512" ;;\n	rsa-sha2-*) n="$1" ;;',
        },
    ),
    Script("cert-file"),
    Script("multipubkey"),
    Script("limit-keytype"),
    Script("cert-hostkey", keys=_HOST_KEYS),
    Script("hostkey-rotate", quick=True, keys=_HOST_KEYS),
    Script("envpass"),
    Script("brokenkeys"),
    Script("host-expand"),
    Script("localcommand"),
    Script("knownhosts"),
    Script("knownhosts-command", keys=_HOST_KEYS),
    Script("portnum"),
    Script("scp"),
    Script("scp3"),
    Script("scp-uri"),
    Script(
        "forwarding",
        quick=True,
        edits={
            "start_sshd\n\nbase=33": f"{_WITH_SOCKETS}\nstart_sshd\n\nbase=@00@",
            # The forwards of ssh_config are those of each connection there: a port goes to the newest, and the others end
            _CHAIN: f"{_CHAIN}\nsed -i '/^LocalForward/d;/^RemoteForward/d' $OBJ/ssh_config",
        },
    ),
    Script("dynamic-forward"),
    Script("forward-control", edits={"LFWD_PORT=3320": "LFWD_PORT=@1@", "RFWD_PORT=3321": "RFWD_PORT=@2@"}),
    Script(
        "multiplex",
        edits={
            "P=3301": "P=@1@",
            # What Ferry answers to an empty line has other words than those of sshd
            _FIRST + _LOCAL: _OWN_FIRST + _LOCAL,
            _FIRST + _REMOTE: _OWN_FIRST + _REMOTE,
            "maybe_add_scp_path_to_sshd": f"maybe_add_scp_path_to_sshd\n{_WITH_SOCKETS}",
        },
    ),
    Script("cfgmatch", edits={"fwdport=3301": "fwdport=@1@"}),
    Script("cfgmatchlisten", edits={"fwdport=3301": "fwdport=@1@"}),
    Script("putty-transfer"),
    Script("putty-kex"),
    Script("putty-ciphers"),
)


@dataclass(frozen=True)
class Outcome:
    """How a script has ended."""

    script: Script
    passed: bool
    seconds: float
    text: str
    """All that it has written, and if it failed the ends of its logs."""


@contextmanager
def shaped_sshd() -> Iterator[Path]:
    """The program of sshd's shape, at a socket, while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="ferry-shape-") as folder:
        place = Path(folder) / "socket"
        environment = clean_environment(PYTHONPATH=f"{TESTS}")
        with subprocess.Popen(
            [sys.executable, "-m", "conformance.regress.shaped", str(place)],
            env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        ) as program:  # fmt: skip
            try:
                assert program.stdout is not None
                assert program.stdout.readline() == b"ready\n", "the program of sshd's shape has not started"
                yield place
            finally:
                program.kill()


def run(script: Script, place: Path) -> Outcome:
    """Run a script against the program at the socket `place`."""
    block = _block()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ferry-regress-") as made:
        folder = Path(made) / _FOLDER
        folder.mkdir(0o700)
        try:
            _prepare(script, folder, place, block)
            code = _run_in(script, folder, block)
        finally:
            block.release()
        text = (folder / "output").read_text("utf-8", "replace")
        if code != 0:
            text += _logs(folder)
    return Outcome(script, code == 0, time.monotonic() - began, text)


def _block() -> PortBlock:
    """Ports with the first three quarters of a hundred among them: the scripts write ports as `${base}01`."""
    refused: list[PortBlock] = []
    try:
        while True:
            block = PortBlock.take()
            first = _hundreds(block) * 100
            if first > block.admin and first + _OF_A_HUNDRED <= block.chosen[-1]:
                return block
            refused.append(block)
    finally:
        for block in refused:
            block.release()


def _hundreds(block: PortBlock) -> int:
    """Of the first full hundred in it."""
    return -(-block.base // 100)


def _prepare(script: Script, folder: Path, place: Path, block: PortBlock) -> None:
    for tool in _TOOLS:
        (folder / tool).symlink_to(REGRESS / tool)
    for name, content in _keys(script.keys).items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    programs = folder / "bin"
    programs.mkdir()
    _write_program(programs / "sshd", shlex.join([sys.executable, "-I", "-S", str(STUB), str(place)]))
    _write_program(programs / "telnet", str(REGRESS / "netcat"))
    _write_ssh(programs / "ssh", script)
    text = (REGRESS / f"{script.name}.sh").read_text("utf-8")
    for old, new in script.edits.items():
        assert text.count(old) == 1, f"{script.name}.sh has {text.count(old)} of {old!r}: it has changed"
        text = text.replace(old, _with_ports(new, block))
    (folder / "scripts").mkdir()
    for path in REGRESS.iterdir():
        if path.name != f"{script.name}.sh":
            (folder / "scripts" / path.name).symlink_to(path)
    (folder / "scripts" / f"{script.name}.sh").write_text(text)


def _with_ports(text: str, block: PortBlock) -> str:
    for token, port in (("@1@", block.public[0]), ("@2@", block.public[1]), ("@00@", _hundreds(block))):
        text = text.replace(token, str(port))
    return text


def _write_program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _write_ssh(path: Path, script: Script) -> None:
    """Stock ssh, whose `-Q` names no algorithm that Ferry lacks."""
    stock = shutil.which("ssh")
    offered = {**OFFERED, "key-plain": script.keys}
    lines = ["#!/bin/sh", "asked=", 'for word in "$@"; do', '    [ "$asked" = -Q ] && { asked="-Q $word"; break; }']
    lines += ["    asked=$word", "done", 'case "$asked" in']
    for kind, names in offered.items():
        patterns = " ".join(f"-e {shlex.quote(name)}" for name in names)
        lines.append(f"    '-Q {kind}') {stock} -Q {kind} | grep -Fx {patterns} ;;")
    lines += [f'    *) exec {stock} "$@" ;;', "esac"]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o700)


@cache
def _keys(kinds: tuple[str, ...]) -> dict[str, bytes]:
    """Key pairs under the names that the scripts look for before they make some. Made once in a process."""
    made: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="ferry-regress-keys-") as folder:
        for kind in kinds:
            path = Path(folder) / kind
            environment = clean_environment(SSH_SK_PROVIDER=str(REGRESS / "misc/sk-dummy/sk-dummy.so"))
            command = ["ssh-keygen", "-q", "-N", "", "-t", kind, "-f", str(path)]
            subprocess.run(command, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=60)
            for file in (path, path.with_name(f"{kind}.pub")):
                made[file.name] = file.read_bytes()
    return made


def _run_in(script: Script, folder: Path, block: PortBlock) -> int:
    """Run it to its end. Returns the exit code."""
    temporary = folder / "t"
    temporary.mkdir()
    programs = folder / "bin"
    environment = clean_environment(
        PATH=f"{programs}:{os.environ['PATH']}",
        HOME=str(folder),
        OBJ=str(folder),
        BUILDDIR=str(REGRESS),
        TMPDIR=str(temporary),
        TEST_SHELL="sh",
        TEST_SSH_SSH=str(programs / "ssh"),
        TEST_SSH_SSHD=str(programs / "sshd"),
        TEST_SSH_SFTPSERVER="/usr/lib/openssh/sftp-server",
        TEST_SSH_PLINK="plink",
        TEST_SSH_PUTTYGEN="puttygen",
        TEST_SSH_PORT=str(block.ssh),
        TEST_SSH_IPV6="yes",
        TEST_SSH_UNSAFE_PERMISSIONS="1",
    )
    command = ["sh", str(REGRESS / "test-exec.sh"), str(folder), str(folder / "scripts" / f"{script.name}.sh")]
    with (folder / "output").open("wb") as output:
        running = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            return running.wait(SECONDS)
        except subprocess.TimeoutExpired:
            output.write(f"it did not end in {SECONDS} s\n".encode())
            return 1
        finally:
            _end_left(folder)
            running.wait()


def _end_left(folder: Path) -> None:
    """End what a script has left in the background: `sleep 60` of login-timeout, and what a failed one did not end."""
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"OBJ={folder}".encode() in place.read_bytes().split(b"\0"):
                os.kill(int(place.parent.name), signal.SIGKILL)
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((folder / "pidfile").read_text()), signal.SIGKILL)


def _logs(folder: Path) -> str:
    text = ""
    for name in ("failed-regress.log", "failed-ssh.log", "failed-sshd.log"):
        with suppress(FileNotFoundError):
            lines = (folder / name).read_text("utf-8", "replace").splitlines()
            text += f"\n--- {name}, the last of {len(lines)} lines\n" + "\n".join(lines[-60:]) + "\n"
    return text
