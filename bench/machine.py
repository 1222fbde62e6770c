"""What the figures were got on: machine, date and versions."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("asyncssh", "uvloop", "httptools", "cryptography")


def facts() -> dict[str, str]:
    """Machine and date, and the versions of what stands on both sides of every system."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        "client": first_line(["ssh", "-V"]),
        "origin": first_line(["nginx", "-v"]),
        "load": first_line(["wrk", "-v"]).partition(" [")[0] + ", " + " ".join(first_line(["curl", "-V"]).split()[:2]),
    }


def first_line(command: list[str]) -> str:
    """The first line a program prints, or `unknown`. Versions are printed on either stream, with any exit code."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False, env={"PATH": path, "HOME": "/nonexistent"}
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return ((ran.stdout or ran.stderr).strip().splitlines() or ["unknown"])[0]


def commit(home: Path) -> str:
    """The commit that the checkout `home` is at, and whether its tree differs from it."""
    name = first_line(["git", "-C", str(home), "rev-parse", "--short=10", "HEAD"])
    changed = first_line(["git", "-C", str(home), "status", "--porcelain", "--", "src"])
    return name if changed == "unknown" else f"{name} with changes"


def short_name() -> str:
    """A word for file names: the CPU's maker and the number of cores, never the host's own name."""
    model = re.sub(r"[^a-z0-9]+", "-", _cpu_model().lower()).strip("-")[:24].strip("-")
    return f"{model}-{os.cpu_count()}cores"


class HostShare:
    """What the host of a virtual machine takes from it, from now on (`steal` in `/proc/stat`, proc_stat(5))."""

    def __init__(self) -> None:
        self._before = _cpu_ticks()

    def taken(self) -> float:
        """Of the time that programs wanted to run: the share, 0 to 1, in which the host ran something else."""
        wanted, taken = (after - before for after, before in zip(_cpu_ticks(), self._before, strict=True))
        return taken / wanted if wanted else 0.0


def _cpu_ticks() -> tuple[int, int]:
    """Ticks of all cores in which something wanted to run, and of these the ones that the host took."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return user + nice + system + irq + softirq + steal, steal


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def allow_many_files() -> None:
    """Raise the limit on open files as far as it goes: 1,000 tunnels need 1,000 sockets on each side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
