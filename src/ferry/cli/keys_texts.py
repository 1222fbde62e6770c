"""What to write on both ends of a tunnel: the command, ssh_config and a systemd unit for the machine, and ssh_config for
those who reach it."""

from __future__ import annotations

from typing import Final, NamedTuple

from ferry.hostnames import SSH_PORT
from ferry.kinds.port import TCP
from ferry.protocol.host_blocks import GATEWAY, gateway_block, host_blocks
from ferry.protocol.host_blocks import Machine as MachineBlock

_LOCAL_PORTS: Final = {"ssh": 22}
_LOCAL_PORT: Final = 80  # of other purposes, where the operator has named none
_KEY: Final = "/etc/ssh/ssh_host_ed25519_key"


class Listening(NamedTuple):
    """One port of a machine."""

    label: str
    port: int
    local: int
    """The port of its own service there."""
    loopback: bool

    @property
    def bind(self) -> str:
        """What stands before the local service: `localhost:21022`."""
        return f"localhost:{self.port}" if self.loopback else str(self.port)


class Machine(NamedTuple):
    """A machine, its ports, and its gateway."""

    name: str
    user: str
    gateway: str
    ssh_port: int
    ports: list[Listening]

    def texts(self) -> dict[str, str]:
        """The texts, by what they are."""
        return {
            "command": self._command(),
            "machine_ssh_config": self._machine_config(),
            "machine_systemd_unit": self._unit(),
            "operator_ssh_config": self._operator_config(),
        }

    def _command(self) -> str:
        return " ".join(["ssh", "-N", *self._forwards(), *self._where()])

    def _where(self) -> list[str]:
        port = [] if self.ssh_port == SSH_PORT else ["-p", str(self.ssh_port)]
        return [*port, f"{self.user}@{self.gateway}"]

    def _forwards(self) -> list[str]:
        return [part for one in self.ports for part in ("-R", f"{one.bind}:localhost:{one.local}")]

    def _machine_config(self) -> str:
        lines = ["Host ferry", f"    HostName {self.gateway}", f"    Port {self.ssh_port}", f"    User {self.user}"]
        lines += [f"    IdentityFile {_KEY}", "    IdentitiesOnly yes", "    ExitOnForwardFailure yes"]
        lines += ["    ServerAliveInterval 15", "    ServerAliveCountMax 3"]
        lines += [f"    RemoteForward {one.bind} localhost:{one.local}" for one in self.ports]
        return "\n".join(lines) + "\n"

    def _unit(self) -> str:
        options = "-o BatchMode=yes -o ExitOnForwardFailure=yes -o ServerAliveInterval=15 -o ServerAliveCountMax=3"
        trust = "-o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes"
        words = ["/usr/bin/ssh", "-N", options, trust, "-i", _KEY, *self._forwards(), *self._where()]
        return "\n".join(
            [
                "[Unit]",
                f"Description=Tunnel to {self.gateway}",
                "After=network-online.target",
                "Wants=network-online.target",
                "StartLimitIntervalSec=0",
                "",
                "[Service]",
                f"ExecStart={' '.join(words)}",
                "Restart=always",
                "RestartSec=5",
                "",
                "[Install]",
                "WantedBy=multi-user.target",
                "",
            ]
        )

    def _operator_config(self) -> str:
        ssh = next((one for one in self.ports if one.label.partition(":")[0] == "ssh"), None)
        if ssh is None:
            return ""
        name = f"{self.name}-{ssh.port}" if self.name == GATEWAY else self.name
        if not ssh.loopback:
            return f"Host {name}\n    HostName {self.gateway}\n    Port {ssh.port}\n    HostKeyAlias {name}\n"
        block = host_blocks([MachineBlock(name, "localhost", ssh.port, TCP.address(ssh.port))], GATEWAY)
        return "\n".join([*gateway_block(self.gateway, self.ssh_port), *block, ""])

    def permits(self) -> list[str]:
        """What the line of a person's key needs to reach it through the gateway."""
        return [f'permitopen="localhost:{one.port}"' for one in self.ports if one.loopback]


def listening(label: str, port: int, local: int | None, *, loopback: bool) -> Listening:
    """One port; `local` is the operator's choice for the port of the service on the machine."""
    usual = _LOCAL_PORTS.get(label.partition(":")[0], _LOCAL_PORT)
    return Listening(label, port, usual if local is None else local, loopback)
