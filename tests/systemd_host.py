"""A real systemd as the first process of namespaces of its own: a small host with nothing on it but what a test starts.

It needs root, and rights that a container usually does not give. The host's own files, processes, ports and units are out
of its reach: it has copies or empty folders of all that it may write to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import ferry
from child_process import SECONDS
from ferry_command import Ran, clean_environment

SYSTEMD = Path("/lib/systemd/systemd")
BOOT_SECONDS = 20.0
_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_PYTHON = Path("/usr/bin/python3")
"""That of `make install`: a service sees no Python in a home folder."""
_TARGETS = (
    "basic", "sysinit", "multi-user", "network-online", "nss-lookup", "shutdown", "local-fs", "umount", "sockets", "slices",
)  # fmt: skip
_BOOT = """\
set -eu
echo $$ >"$1/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child sh -euc '
    mount --make-rprivate /
    mount -t tmpfs tmpfs /run
    cp -a /etc /run/etc
    rm -rf /run/etc/systemd
    mkdir -p /run/etc/systemd/system /run/dev
    mount --bind /run/etc /etc
    mount -t tmpfs tmpfs /run/dev
    for device in null zero full random urandom tty; do
        touch /run/dev/$device
        mount --bind /dev/$device /run/dev/$device
    done
    mkdir /run/dev/shm /run/dev/pts
    mount -t devpts devpts /run/dev/pts
    ln -s pts/ptmx /run/dev/ptmx
    mount --rbind /run/dev /dev
    for folder in /opt /var/lib /usr/local/bin; do mount -t tmpfs tmpfs $folder; done
    mount -t proc proc /proc
    mount --bind /proc/sys /proc/sys
    mount -o remount,bind,ro /proc/sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_UNIT_PATH=/etc/systemd/system:"$1" \\
        /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=0
' boot "$2"
"""


@dataclass(frozen=True)
class SystemdHost:
    """A host with systemd, on which commands can be run."""

    pid: int
    """Of its systemd, outside."""

    def run(self, *command: str | Path) -> Ran:
        """Run a command there to its end."""
        inside = ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "--wd=/", *map(str, command)]
        done = subprocess.run(
            inside, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False, umask=0o022
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def systemctl(self, *arguments: str) -> Ran:
        return self.run("systemctl", "--no-pager", *arguments)

    def shown(self, unit: str, *names: str) -> list[str]:
        """These properties of a unit."""
        said = self.systemctl("show", unit, *(f"--property={name}" for name in names)).out
        values = dict(line.split("=", 1) for line in said.splitlines())
        return [values[name] for name in names]

    def until(self, unit: str, **wanted: str | Callable[[str], bool]) -> None:
        """Wait until the properties of a unit are so. systemctl tells of no change."""
        deadline = time.monotonic() + SECONDS
        while True:
            now = self.shown(unit, *wanted)
            if all(
                want(is_) if callable(want) else want == is_ for is_, want in zip(now, wanted.values(), strict=True)
            ):
                return
            assert time.monotonic() < deadline, f"{unit} is {now}"
            time.sleep(0.02)

    def read(self, path: str) -> str:
        """The text of a file there."""
        return self._path(path).read_text()

    def write(self, path: str, text: str) -> None:
        """Write a file there, which everybody may read."""
        before = os.umask(0o022)
        try:
            self._path(path).parent.mkdir(parents=True, exist_ok=True)
            self._path(path).write_text(text)
        finally:
            os.umask(before)

    def _path(self, path: str) -> Path:
        return Path(f"/proc/{self.pid}/root{path}")

    def install_ferry(self) -> None:
        """Put the program of this test run where `make install` puts it."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
        venv = f"/opt/ferry/venv/lib/{version}/site-packages"
        self.write(f"{venv}/ferry.pth", "/opt/ferry/packages\n/opt/ferry/src\n")
        self.write("/opt/ferry/venv/pyvenv.cfg", f"home = {_PYTHON.parent}\ninclude-system-site-packages = false\n")
        main = "import sys\nfrom ferry.cli.main import main\nsys.exit(main())\n"
        self.write("/opt/ferry/venv/bin/ferry", f"#!/opt/ferry/venv/bin/python\n{main}")
        mounts = {packages: "/opt/ferry/packages", Path(ferry.__file__).parents[1]: "/opt/ferry/src"}
        script = ["ln -s /usr/bin/python3 /opt/ferry/venv/bin/python", "chmod 755 /opt/ferry/venv/bin/ferry"]
        script += [f"mkdir {to} && mount --bind '{of}' {to}" for of, to in mounts.items()]
        done = self.run("sh", "-euc", "\n".join(script))
        assert done.code == 0, done.err


def _same_python() -> bool:
    if not _PYTHON.exists():
        return False
    asked = [str(_PYTHON), "-c", "import sys; print(sys.version_info[:2])"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout == f"{sys.version_info[:2]}\n"


@contextmanager
def systemd_host(folder: Path) -> Iterator[SystemdHost]:
    """A host that has booted. Skips the test where none can run. `folder` is for its files."""
    if os.geteuid() != 0:
        pytest.skip("only root can make namespaces for a systemd")
    if not SYSTEMD.exists() or not shutil.which("nsenter"):
        pytest.skip("there is no systemd here")
    if not _same_python():
        pytest.skip(f"{_PYTHON} cannot run these packages, and a service sees no Python in a home folder")
    units = folder / "units"
    units.mkdir()
    for name in _TARGETS:
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
    root = next((path for path in _CGROUPS if (path / "cgroup.procs").exists()), None)
    if root is None:
        pytest.skip("there are no cgroups of version 2 for a systemd")
    group = root / f"ferry-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made for a systemd: {error.strerror}")
    log = folder / "boot.log"
    with log.open("wb") as output:
        boot = subprocess.Popen(
            ["sh", "-c", _BOOT, "boot", group, units], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        host = _booted(boot, log)
        yield host
    finally:
        boot.kill()  # with its child, the first process of the namespace, all others there end
        boot.wait(BOOT_SECONDS)
        _remove(group)


def _booted(boot: subprocess.Popen[bytes], log: Path) -> SystemdHost:
    deadline = time.monotonic() + BOOT_SECONDS
    why = "it did not boot"
    while boot.poll() is None and time.monotonic() < deadline:
        children = Path(f"/proc/{boot.pid}/task/{boot.pid}/children").read_text().split()
        if children:
            host = SystemdHost(int(children[0]))
            asked = host.systemctl("is-system-running")
            if asked.out.strip() in ("running", "degraded"):
                return host
            why = asked.out + asked.err
        time.sleep(0.05)
    pytest.skip(f"no systemd can run here: {why.strip()} {log.read_text().strip()[-300:]}")


def _remove(group: Path) -> None:
    """Remove a cgroup with all below it. Its last processes are ending."""
    deadline = time.monotonic() + BOOT_SECONDS
    for path in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        while True:
            try:
                path.rmdir()
            except OSError:
                assert time.monotonic() < deadline, f"{path} stays"
                time.sleep(0.01)
            else:
                break
    group.rmdir()
