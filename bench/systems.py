"""What is compared: how each system is started, and how a client makes a tunnel to it.

The rivals are started as their own documentation says for a gateway on one machine, with their logs off. Ferry runs as
shipped, with a line for each visit in a file; beside it runs one whose log is as quiet as theirs. Their programs are
looked for in the folder that FERRY_BENCH_PEERS names.
"""

from __future__ import annotations

import abc
import getpass
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .keys import Keys
from .machine import commit, first_line
from .processes import HOME, BenchError, Program, free_ports, listens, run, wait_until

CONTROL: Final = " (control)"
"""Ends the name of a control in tables."""

DOMAIN = "gw.test"
TCP_CIPHER = "aes128-gcm@openssh.com"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one start of a system lives: its folder and ports, the keys that may connect, and the service to publish."""

    folder: Path
    ssh_port: int
    http_port: int
    spare_port: int
    tcp_port: int
    admin_port: int
    keys: Keys
    origin_port: int

    @classmethod
    def make(cls, folder: Path, keys: Keys, origin_port: int) -> Place:
        ports = free_ports()
        folder.mkdir()
        return cls(folder, next(ports), next(ports), next(ports), next(ports), next(ports), keys, origin_port)


class System(abc.ABC):
    """One of the systems. Stateless: `started` gives what runs."""

    name: str
    stock_ssh = True
    """Whether the clients are stock `ssh` (so a library's clients may stand in for a thousand of them)."""
    http = True
    """Whether names are served by HTTP; otherwise a port is."""
    missing = ""
    """Why it cannot be measured here, or nothing."""

    @abc.abstractmethod
    def version(self) -> str:
        """One line: program and version."""

    @abc.abstractmethod
    def command(self, place: Place) -> list[str | Path]:
        """The gateway's command line, after writing what it needs into `place.folder`."""

    def client(self, place: Place, name: str, key: int = 0) -> list[str | Path]:
        """The command of a client that publishes the origin as `name` (a port, where the system has no names)."""
        forward = f"{name}:80" if self.http else f"{place.tcp_port}"
        return ssh(place, ["-R", f"{forward}:127.0.0.1:{place.origin_port}"], key)

    def environment(self, place: Place) -> dict[str, str]:
        del place
        return {}

    def visited_at(self, place: Place) -> int:
        """The port at which visitors arrive."""
        return place.http_port if self.http else place.tcp_port

    def host(self, name: str) -> str:
        """What visitors of `name` write in `Host`."""
        return f"{name}.{DOMAIN}"

    @contextmanager
    def started(self, place: Place) -> Iterator[Program]:
        """The gateway, listening."""
        with Program(self.command(place), place.folder, env=self.environment(place)) as gateway:
            wait_until(lambda: gateway.runs() and self._listens(place), self.name)
            yield gateway

    def _listens(self, place: Place) -> bool:
        return listens(place.ssh_port) and (not self.http or listens(place.http_port))


class Ferry(System):
    name = "Ferry"

    def __init__(self, checkout: Path | None = None, *, control: bool = False) -> None:
        """Of another `checkout` than the bench's own, where that is asked for. It must have been set up. `control`: it
        is measured beside one of the same code."""
        self.checkout = checkout
        self.control = control
        self.program = (checkout / ".venv" if checkout else Path(sys.prefix)) / "bin" / "ferry"
        if checkout:
            self.name = f"{self.name}{CONTROL}" if control else before(self.name)
            self.missing = "" if self.program.exists() else f"{self.program} is not there: run {checkout}/scripts/setup"

    def version(self) -> str:
        return f"{first_line([str(self.program), '--version'])} ({commit(self.checkout or HOME)})"

    def command(self, place: Place) -> list[str | Path]:
        config = place.folder / "ferry.toml"
        config.write_text(
            f'domain = "{DOMAIN}"\nstate = "{place.folder}/state"\n'
            f'[ssh]\nlisten = "127.0.0.1:{place.ssh_port}"\n'
            f'[http]\nlisten = "127.0.0.1:{place.http_port}"\n'
            f'[https]\nlisten = "127.0.0.1:{place.spare_port}"\n'
            f'[admin]\nlisten = "127.0.0.1:{place.admin_port}"\n'
            f'[tcp]\nranges = [{{ first = {place.tcp_port}, last = {place.tcp_port}, listen = "loopback" }}]\n'
            "allocate_from = 0\n"
        )
        return [self.program, "serve", "--config", config]

    def ask(self, place: Place) -> None:
        """What operators ask a running gateway: one scrape of `/metrics`, and `ferry status`."""
        metrics = f"http://127.0.0.1:{place.admin_port}/metrics"
        run(["curl", "-sS", "--fail", "-o", "/dev/null", metrics], place.folder, seconds=30)
        run([self.program, "status", "--config", place.folder / "ferry.toml"], place.folder, seconds=30)


class Unexempt(Ferry):
    """Loopback is no exception: every address of 127.0.0.0/8 is somebody."""

    def environment(self, place: Place) -> dict[str, str]:
        return super().environment(place) | {"FERRY_LIMITS__EXEMPT": "192.0.2.0/24"}


class FerryQuiet(Ferry):
    """With the log as quiet as the others', to see what the log costs."""

    name = "Ferry, quiet log"

    def environment(self, place: Place) -> dict[str, str]:
        return super().environment(place) | {"FERRY_LOG__LEVEL": "warning"}


class FerryPort(Ferry):
    """Ferry's plain TCP port, to compare with sshd's."""

    name = "Ferry, TCP port"
    http = False

    def client(self, place: Place, name: str, key: int = 0) -> list[str | Path]:
        del name
        forward = f"{place.tcp_port}:127.0.0.1:{place.origin_port}"
        return ssh(place, ["-c", TCP_CIPHER, "-R", forward], key)


class Sshd(System):
    name = "sshd -R"
    http = False
    program = Path("/usr/sbin/sshd")

    def __init__(self) -> None:
        self.missing = "" if self.program.exists() else f"{self.program} is not there"

    def version(self) -> str:
        return first_line([str(self.program), "-V"]) if self.program.exists() else ""

    def command(self, place: Place) -> list[str | Path]:
        host_key = place.folder / "host_key"
        shutil.copy(place.keys[place.keys.count - 1], host_key)
        host_key.chmod(0o600)
        config = place.folder / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{place.ssh_port}\nHostKey {host_key}\nPidFile none\n"
            f"AuthorizedKeysFile {place.keys.authorized}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin yes\nMaxStartups 1000\nMaxSessions 1000\nLogLevel ERROR\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's empty folder for privilege separation
        return [self.program, "-D", "-e", "-f", config]

    def client(self, place: Place, name: str, key: int = 0) -> list[str | Path]:
        del name
        forward = f"{place.tcp_port}:127.0.0.1:{place.origin_port}"
        return ssh(place, ["-c", TCP_CIPHER, "-R", forward], key)


class Direct(System):
    """No tunnel: the origin itself, which says what the load generator can ask for."""

    name = "origin, no tunnel"
    stock_ssh = False

    def version(self) -> str:
        return first_line(["nginx", "-v"])

    def command(self, place: Place) -> list[str | Path]:
        raise BenchError("the origin needs no gateway: `Setting.site` starts none")

    def visited_at(self, place: Place) -> int:
        return place.origin_port


class Rival(System):
    """A system whose program may or may not be in the peers' folder."""

    program_name: str

    def __init__(self) -> None:
        folder = os.environ.get("FERRY_BENCH_PEERS", "")
        self.program = Path(folder) / self.program_name
        if not folder:
            self.missing = "FERRY_BENCH_PEERS does not name a folder with it"
        elif not os.access(self.program, os.X_OK):
            self.missing = f"there is no {self.program_name} in the folder that FERRY_BENCH_PEERS names"


class Sish(Rival):
    name = "sish"
    program_name = "sish"

    def version(self) -> str:
        return "sish " + first_line([str(self.program), "--version"]).removeprefix("Version: ")

    def command(self, place: Place) -> list[str | Path]:
        (place.folder / "keys").mkdir()
        options = {
            "ssh-address": f"127.0.0.1:{place.ssh_port}",
            "http-address": f"127.0.0.1:{place.http_port}",
            "domain": DOMAIN,
            "authentication": "false",
            "bind-random-subdomains": "false",
            "idle-connection": "false",
            "private-keys-directory": f"{place.folder}/keys",
            "authentication-keys-directory": f"{place.folder}/keys",
            "load-templates": "false",
            "banned-subdomains": "none",
            "log-to-stdout": "false",
        }
        return [self.program, *(f"--{option}={value}" for option, value in options.items())]


class Sandhole(Rival):
    name = "Sandhole"
    program_name = "sandhole"

    def version(self) -> str:
        return first_line([str(self.program), "--version"])

    def command(self, place: Place) -> list[str | Path]:
        for folder in ("users", "admins", "certificates", "acme"):
            (place.folder / folder).mkdir()
        shutil.copy(place.keys.authorized, place.folder / "users" / "everybody")
        options = {
            "domain": DOMAIN,
            "user-keys-directory": f"{place.folder}/users",
            "admin-keys-directory": f"{place.folder}/admins",
            "certificates-directory": f"{place.folder}/certificates",
            "acme-cache-directory": f"{place.folder}/acme",
            "private-key-file": f"{place.folder}/host_key",
            "ssh-port": str(place.ssh_port),
            "http-port": str(place.http_port),
            "https-port": str(place.spare_port),
            "listen-address": "127.0.0.1",
        }
        switches = "disable-https disable-http-logs disable-tcp-logs disable-prometheus allow-requested-subdomains"
        return [
            self.program,
            *(word for option, value in options.items() for word in (f"--{option}", value)),
            *(f"--{switch}" for switch in switches.split()),
        ]


class Frp(Rival):
    name = "frp"
    program_name = "frps"
    stock_ssh = False

    def __init__(self) -> None:
        super().__init__()
        if not self.missing and not os.access(self.program.with_name("frpc"), os.X_OK):
            self.missing = "there is no frpc beside frps"

    def version(self) -> str:
        return "frp " + first_line([str(self.program), "--version"])

    def command(self, place: Place) -> list[str | Path]:
        config = place.folder / "frps.toml"
        config.write_text(
            f'bindAddr = "127.0.0.1"\nproxyBindAddr = "127.0.0.1"\nbindPort = {place.ssh_port}\n'
            f'vhostHTTPPort = {place.http_port}\nlog.level = "error"\n'
        )
        return [self.program, "-c", config]

    def client(self, place: Place, name: str, key: int = 0) -> list[str | Path]:
        del key
        config = place.folder / f"frpc-{name}.toml"
        config.write_text(
            f'serverAddr = "127.0.0.1"\nserverPort = {place.ssh_port}\nlog.level = "error"\n'
            f'[[proxies]]\nname = "{name}"\ntype = "http"\nlocalIP = "127.0.0.1"\nlocalPort = {place.origin_port}\n'
            f'customDomains = ["{self.host(name)}"]\n'
        )
        return [self.program.with_name("frpc"), "-c", config]


def before(name: str) -> str:
    """What `name` of another checkout is called in tables."""
    return f"{name} (before)"


def ssh(place: Place, arguments: list[str], key: int = 0) -> list[str | Path]:
    """Stock `ssh` with its default configuration: nothing but what a machine without known hosts needs is said."""
    if key >= place.keys.count:
        raise BenchError(f"there are {place.keys.count} keys, and key {key} was asked for")
    return [
        *("ssh", "-F", "none", "-N", "-p", str(place.ssh_port), "-o", "ExitOnForwardFailure=yes"),
        *("-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"),
        *("-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-i", place.keys[key]),
        *arguments,
        f"{getpass.getuser()}@127.0.0.1",
    ]


def two_checkouts(checkout: Path, control: Path | None = None) -> list[System]:
    """Ferry of another checkout, and then our own, as name, with a quiet log and as port; the control between them."""
    systems: list[System] = []
    for kind in (Ferry, FerryQuiet, FerryPort):
        systems += [kind(checkout), *([kind(control, control=True)] if control else []), kind()]
    return systems


def all_systems() -> list[System]:
    """In the order in which each round runs them."""
    return [Direct(), Ferry(), FerryQuiet(), Sandhole(), Sish(), Frp(), FerryPort(), Sshd()]
