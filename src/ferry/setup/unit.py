"""The systemd unit that runs the gateway, as its own user with one capability and a read-only system.

What is deliberately not there: `PrivateUsers` (a capability inside a user namespace binds no port of the host's
network), `PrivateNetwork` and `IPAddressDeny` (it is a gateway). `MemoryDenyWriteExecute` holds: CPython 3.11 to 3.13,
uvloop, httptools, cryptography and SQLite map no page writable and executable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ferry.config.model import Config

from .paths import Account, unreadable

UNIT_PATH: Final = Path("/etc/systemd/system/ferry.service")
STATE_ROOT: Final = Path("/var/lib")
LOGS_ROOT: Final = Path("/var/log")
RUN: Final = Path("/run")
STOP_MARGIN_SECONDS: Final = 15  # past the drain: to write the last rows and close the database
WATCHDOG_SECONDS: Final = 30
HIDDEN: Final[Mapping[Path, str]] = MappingProxyType(
    {  # folders the unit closes, and the setting that does it
        Path("/home"): "ProtectHome",
        Path("/root"): "ProtectHome",
        Path("/run/user"): "ProtectHome",
        Path("/tmp"): "PrivateTmp",  # noqa: S108 - named here to be refused, nothing is written there
        Path("/var/tmp"): "PrivateTmp",  # noqa: S108 - the same
    }
)


@dataclass(frozen=True, slots=True)
class Service:
    """What one unit runs."""

    command: Path
    """The `ferry` program of the virtual environment."""
    config_file: Path
    config: Config
    account: Account
    code: tuple[Path, ...] = ()
    """Files of the program that the service user must be able to read: interpreter, package."""


def obstacles(service: Service) -> list[str]:
    """Why the service could not run yet: each text names the path and what to do. Empty if it can run."""
    config = service.config
    reads = [
        ("program", service.command, "install Ferry with `make install`, which uses /opt/ferry"),
        *(("program", path, "install Ferry with `make install`, which uses /opt/ferry") for path in service.code),
        ("configuration", service.config_file, "put it in /etc/ferry, mode 0644, in a folder of mode 0755"),
        *(("keys", path.path, "put them in /etc/ferry/keys, mode 0644") for _, path in config.access.paths.all()),
    ]
    if config.https.certificates:
        fix = f"copy them to /etc/ferry/certificates, owned by {service.account.name}, keys with mode 0600"
        reads.append(("certificates", config.https.certificates, fix))
    found = []
    for what, path, fix in reads:
        reason = _hidden(path) or unreadable(path, service.account)
        if reason:
            found.append(f"{what}: {reason}: {fix}")
    if reason := _hidden(config.state):
        found.append(f'state: {reason}: write state = "/var/lib/ferry" in {service.config_file}')
    if config.audit.file and (reason := _hidden(config.audit.file)):
        found.append(f'audit.file: {reason}: write file = "/var/log/ferry/audit.jsonl" below [audit]')
    sockets = config.sshd.streamlocal_folder
    if sockets is not None and (reason := _hidden(sockets)):
        found.append(f'sshd.streamlocal_folder: {reason}: write streamlocal_folder = "/run/ferry/sockets" below [sshd]')
    elif sockets is not None and not sockets.is_relative_to(RUN) and not sockets.is_dir():
        found.append(f"sshd.streamlocal_folder: {sockets} is no folder: make it, and give it to {service.account.name}")
    return list(dict.fromkeys(found))


def _hidden(path: Path) -> str | None:
    for target in (path.absolute(), path.resolve()):
        for folder, setting in HIDDEN.items():
            if target.is_relative_to(folder):
                return f"{path}: the service cannot see {folder} ({setting})"
    return None


def unit_text(service: Service) -> str:
    """The unit file."""
    state = service.config.state
    if state.parent == STATE_ROOT:
        state_lines = f"StateDirectory={_quoted(state.name)}\nStateDirectoryMode=0700"
    else:
        state_lines = f"ReadWritePaths={_quoted(str(state))}"
    file = service.config.audit.file
    if file is not None and not file.is_relative_to(state):
        logs = file.parent
        of_system = logs.parent == LOGS_ROOT
        state_lines += (
            f"\nLogsDirectory={_quoted(logs.name)}" if of_system else f"\nReadWritePaths={_quoted(str(logs))}"
        )
    if (sockets := service.config.sshd.streamlocal_folder) is not None:
        state_lines += f"\n{_sockets_line(sockets)}"
    program = _quoted(str(service.command))
    command = f"{program} serve --config {_quoted(str(service.config_file))}"
    reload = f"{program} reload --state {_quoted(str(state))}"
    stop = math.ceil(service.config.drain) + STOP_MARGIN_SECONDS
    return _TEMPLATE.format(
        command=command,
        reload=reload,
        state_lines=state_lines,
        stop=stop,
        user=service.account.name,
        watchdog=WATCHDOG_SECONDS,
    )


def _sockets_line(folder: Path) -> str:
    """What lets sockets be made there: below /run, which is empty after a boot, systemd makes the folder at each start."""
    if folder.is_relative_to(RUN) and folder != RUN:
        return f"RuntimeDirectory={_quoted(str(folder.relative_to(RUN)))}\nRuntimeDirectoryMode=0700"
    return f"ReadWritePaths={_quoted(str(folder))}"


def _quoted(text: str) -> str:
    """`text` as one word of a unit file (systemd.syntax(7)): `%` and `$` doubled, in quotes if it has special characters."""
    text = text.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[\w./%$:@+-]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TEMPLATE: Final = """\
# Written by `ferry install-service`. Change it with `systemctl edit ferry`, which keeps this file as it is.
[Unit]
Description=Ferry, a reverse-SSH tunnel gateway
After=network-online.target nss-lookup.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
# It fails, and changes nothing, if the new configuration has a mistake; the journal says which.
ExecReload={reload}
User={user}
Group={user}
UMask=0077
{state_lines}
Restart=on-failure
RestartSec=2
# 2: the configuration is wrong. 3: the gateway cannot start here (a taken port, a missing host key). Starting again
# would not make it right: a person must, and the log says how.
RestartPreventExitStatus=2 3
WatchdogSec={watchdog}
KillMode=mixed
TimeoutStartSec=60
TimeoutStopSec={stop}
LimitNOFILE=262144
TasksMax=512

# One capability: to listen below port 1024.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes

# The system is read-only; the state folder, and those of audit.file and of Unix sockets, are all that can be written.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateIPC=yes
RemoveIPC=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes

# Only what a network server in Python calls.
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
