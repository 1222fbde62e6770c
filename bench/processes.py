"""Programs that the bench runs, what they cost (from /proc), and ports for them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

READY_SECONDS = 20.0  # for any program to do what it was started for
HOME = Path(__file__).resolve().parent.parent  # where `python -m bench.…` runs
END_SECONDS = 3.0  # after SIGTERM; then SIGKILL
_TICKS = os.sysconf("SC_CLK_TCK")
_PORTS = range(12_000, 30_000)  # below what the kernel gives to outgoing connections


class BenchError(Exception):
    """One measurement could not be made. The text says why; the others go on."""


class Program:
    """One running program, the leader of a process group of its own. Leaving the context ends the group."""

    def __init__(
        self,
        command: Sequence[str | Path],
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        log_folder: Path | None = None,
    ) -> None:
        """`folder` is where it runs, its home, and where what it prints goes unless to `log_folder`."""
        self.command = [str(word) for word in command]
        self._log = (log_folder or folder) / f"{Path(self.command[0]).name}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=folder,
                env=environment(folder) | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-800:]

    def runs(self) -> bool:
        """True. Raises BenchError, with what it printed, if it has ended."""
        if (code := self.process.poll()) is not None:
            raise BenchError(f"{Path(self.command[0]).name} ended with {code}: {self.output}")
        return True

    def finish(self, seconds: float) -> None:
        """SIGTERM to a program that ends well by it. Raises BenchError where it does not, within `seconds`."""
        self._signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{self.command[:3]} did not end within {seconds:.0f} s") from None
        if code != 0:
            raise BenchError(f"{self.command[:3]} ended with {code}: {self.output}")

    def reload(self) -> None:
        """SIGHUP."""
        self._signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._signal(signal.SIGKILL)
        self.process.wait(READY_SECONDS)

    def close(self) -> None:
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def environment(folder: Path) -> dict[str, str]:
    """With `folder` as the home: nothing of the person who runs the bench is read or written."""
    return {"HOME": str(folder), "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}


def run(command: Sequence[str | Path], folder: Path, *, seconds: float) -> str:
    """Run a command to its end and return its standard output. Raises BenchError when it fails."""
    words = [str(word) for word in command]
    with subprocess.Popen(
        words, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            out, error = process.communicate(timeout=seconds)
        except BaseException as reason:
            process.kill()
            if isinstance(reason, subprocess.TimeoutExpired):
                raise BenchError(f"{words[0]} took more than {seconds:.0f} s") from None
            raise
    if process.returncode != 0:
        raise BenchError(f"{words[0]} ended with {process.returncode}: {error.strip()[-400:]}")
    return out


# --- waiting


def wait_until(ready: Callable[[], bool], what: str, *, seconds: float = READY_SECONDS, every: float = 0.005) -> None:
    """Ask `ready` until it says yes. Raises BenchError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def listens(port: int) -> bool:
    """Whether somebody accepts on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def free_ports() -> Iterator[int]:
    """Ports on which nobody listens, without end."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


# --- what processes cost


def tree(root: int) -> list[int]:
    """The process and everything it has started that still runs."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system CPU of the process, of its living children, and of those it has waited for."""
    total = 0
    for pid in tree(root):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process and its children take, in bytes."""

    pss: int
    """Pages shared with others are divided among those that share them."""
    rss: int
    """Pages shared with others count whole."""


def memory(root: int) -> Memory:
    """From /proc/PID/smaps_rollup of the process and of everything it has started."""
    found = {"Pss": 0, "Rss": 0}
    for pid in tree(root):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for line in rollup.splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] += int(value.split()[0]) * 1024
    return Memory(found["Pss"], found["Rss"])


def descriptors(pid: int) -> int:
    """How many descriptors the process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
