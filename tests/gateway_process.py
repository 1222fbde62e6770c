"""A real gateway in a process of its own, with its own ports and state folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from child_process import Child
from ferry_command import PROGRAM, clean_environment
from rsa_host_key import put_rsa_key
from ssh_command import StockSsh

DOMAIN = "localhost"
_BLOCK = 120  # ports per gateway; below the range that the kernel gives to outgoing connections
_BLOCKS = range(10_000, 29_800, _BLOCK)


@dataclass(slots=True)
class PortBlock:
    """A block of ports for one gateway. The process that binds the first port (it never listens) owns the block."""

    guard: socket.socket
    base: int

    @classmethod
    def take(cls) -> PortBlock:
        bases = list(_BLOCKS)
        random.shuffle(bases)
        for base in bases:
            guard = socket.socket()
            try:
                guard.bind(("127.0.0.1", base))
                for port in range(base + 1, base + 5):  # a gateway that outlived its tests has them still
                    with socket.create_server(("127.0.0.1", port)):
                        pass
            except OSError:
                guard.close()
                continue
            return cls(guard, base)
        raise AssertionError("no free block of ports")

    def release(self) -> None:
        self.guard.close()

    @property
    def ssh(self) -> int:
        return self.base + 1

    @property
    def http(self) -> int:
        return self.base + 2

    @property
    def https(self) -> int:
        return self.base + 3

    @property
    def admin(self) -> int:
        return self.base + 4

    @property
    def outside(self) -> int:
        """A port outside every range."""
        return self.base + 5

    @property
    def loopback(self) -> range:
        return range(self.base + 10, self.base + 40)

    @property
    def public(self) -> range:
        """The ports that `-R 0:...` gets."""
        return range(self.base + 40, self.base + 80)

    @property
    def chosen(self) -> range:
        """More public ports, which `-R 0:...` does not get."""
        return range(self.base + 80, self.base + 120)


@dataclass
class Gateway:
    """A gateway that a test can start, stop, kill and start again with the same state."""

    folder: Path
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    """Tables of the configuration, beside the ports."""
    ports: PortBlock = field(default_factory=PortBlock.take)
    top: dict[str, object] = field(default_factory=dict)
    """Keys of the configuration's top level."""
    child: Child | None = None
    descriptors: int | None = None
    """The RLIMIT_NOFILE of the process; None: that of the test."""
    program: Sequence[str | Path] = (PROGRAM,)
    """The command that runs as `ferry`."""
    makes_rsa_key: bool = False
    """Whether its first start makes its RSA host key, or finds one."""

    def __post_init__(self) -> None:
        self.loopback_ports = iter(self.ports.loopback)
        """Ports that no test has asked for yet."""
        self.public_ports = iter(self.ports.chosen)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def running(self) -> Child:
        assert self.child is not None
        return self.child

    def write_config(self) -> Path:
        """Write the configuration file from `settings`."""
        ports = self.ports
        tables: dict[str, dict[str, object]] = {
            "ssh": {"listen": f"127.0.0.1:{ports.ssh}"},
            "http": {"listen": f"127.0.0.1:{ports.http}"},
            "https": {"listen": f"127.0.0.1:{ports.https}"},
            "admin": {"listen": f"127.0.0.1:{ports.admin}"},
            "log": {"format": "json"},
            "tcp": {
                "ranges": [
                    {"first": ports.loopback[0], "last": ports.loopback[-1], "listen": "loopback"},
                    {"first": ports.public[0], "last": ports.public[-1], "listen": "public"},
                    {"first": ports.chosen[0], "last": ports.chosen[-1], "listen": "public"},
                ],
                "public_addresses": ["127.0.0.1"],
            },
        }
        for name, table in self.settings.items():
            tables[name] = tables.get(name, {}) | table
        lines = [f"{key} = {_toml(value)}" for key, value in {"domain": DOMAIN, "state": str(self.state)}.items()]
        lines += [f"{key} = {_toml(value)}" for key, value in self.top.items()]
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        path = self.folder / "ferry.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def launch(self) -> Child:
        """Start the process and return at once."""
        environment = clean_environment(HOME=str(self.folder))
        if not self.state.exists() and not self.makes_rsa_key:
            put_rsa_key(self.state)
        command: list[str | Path] = [*self.program, "serve", "--config", self.write_config()]
        if self.descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {self.descriptors} && exec "$0" "$@"', *command]
        self.child = Child(command, env=environment, cwd=self.folder)
        return self.child

    def start(self) -> None:
        """Start the process, and return when it serves, and all that it logs of its start is here."""
        child = self.launch()
        try:
            child.line("^Ferry is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{child.err.text}") from None
        self.event('"gateway.started"')

    def stop(self) -> None:
        """Stop with SIGTERM, and check the exit code of a drain."""
        child = self.running
        child.signal(signal.SIGTERM)
        code = child.exit_code()
        assert code == 0, child.err.text
        child.close()
        self.child = None

    def reload(self, outcome: str = "reloaded") -> dict[str, Any]:
        """Write the configuration file from `settings`, send SIGHUP, and return what it logs of that."""
        seen = self.log_lines
        self.write_config()
        self.running.signal(signal.SIGHUP)
        return self.event(rf'"config\.{outcome}"', after=seen)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        child = self.running
        child.signal(signal.SIGKILL)
        child.exit_code()
        child.close()
        self.child = None

    @contextlib.contextmanager
    def serving(self) -> Iterator[Self]:
        """While it runs. At the end SIGTERM stops it, with exit code 0, unless it has ended already."""
        try:
            self.start()
            yield self
            if self.child is not None and self.child.running:
                self.stop()
        finally:
            self.close()

    def close(self) -> None:
        """Clean up at the end of a test, in any state."""
        if self.child is not None:
            self.child.close()
        self.ports.release()

    # --- what it says

    def event(self, pattern: str, *, after: int = 0) -> dict[str, Any]:
        """Wait for a log line (JSON) with `pattern` in it."""
        line = self.running.err.wait(pattern, after=after).string
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def log_lines(self) -> int:
        """The number of log lines so far, from which a later `event` may begin."""
        return len(self.running.err.lines)

    def ask(self, path: str, method: str = "GET") -> Any:
        """Ask the control socket's API."""
        return json.loads(self._asked(path, method))

    def events(self) -> list[dict[str, Any]]:
        """The recent events, as `ferry events` shows them."""
        return [json.loads(line) for line in self._asked("events", "GET").splitlines()]

    def health(self) -> dict[str, Any]:
        """What `/health` says on the admin address."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.admin, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", "/health")
            answer = connection.getresponse()
            assert answer.status == 200
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def _asked(self, path: str, method: str) -> bytes:
        connection = http.client.HTTPConnection("localhost")
        with contextlib.closing(connection):
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(20)
            connection.sock.connect(str(self.state / "control.sock"))
            connection.request(method, f"/api/v1/{path}")
            return connection.getresponse().read()

    def memory(self) -> int:
        """Resident memory of the process, in bytes."""
        pages = int(Path(f"/proc/{self.running.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    # --- how it is reached

    def ssh(self, folder: Path, key: Path | None) -> StockSsh:
        """Stock `ssh` to this gateway."""
        return StockSsh(folder, "127.0.0.1", self.ports.ssh, key)

    def url(self, name: str, path: str = "/") -> str:
        return f"http://{name}.{DOMAIN}:{self.ports.http}{path}"


def gateway_in(folder: Path, **settings: dict[str, object]) -> contextlib.AbstractContextManager[Gateway]:
    """A running gateway with its state in `folder`."""
    return Gateway(folder, settings).serving()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)
