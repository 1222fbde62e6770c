"""The answers given to `ferry init`, and the settings and steps that follow from them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ferry.hostnames import SSH_PORT
from ferry.names import Endpoint

SSHD_ELSEWHERE: Final = 2022  # where the printed steps move sshd to
EVERY_HOST: Final = "::"


class SshChoice(enum.StrEnum):
    """Which port people type."""

    HTTPS_PORT = "443"
    EXTRA = "2222"
    STANDARD = "22"


class Who(enum.StrEnum):
    """Who may connect."""

    ANYONE = "anyone"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to all questions of `ferry init`."""

    domain: str
    who: Who
    keys: Path | None
    """Where `who` is KEYS."""
    ssh: SshChoice
    state: Path
    public_addresses: tuple[str, ...]
    sshd: bool = False
    """An SSH server was seen on port 22 of this host."""
    abuse_contact: str | None = None
    """An e-mail address or a URL."""

    @property
    def local(self) -> bool:
        """A gateway for this machine alone, on the built-in loopback addresses."""
        return self.domain == "localhost"

    @property
    def ssh_port(self) -> int:
        """The port of the printed commands."""
        return 2222 if self.local else int(self.ssh)

    @property
    def ssh_command(self) -> str:
        """`ssh`, with the port where it is not the standard one."""
        return "ssh" if self.ssh_port == SSH_PORT else f"ssh -p {self.ssh_port}"

    def written(self) -> dict[str, object]:
        """The settings that differ from the defaults, by dotted key."""
        settings: dict[str, object] = {"domain": self.domain, "state": self.state, "access.mode": str(self.who)}
        if self.keys:
            settings["access.keys"] = [self.keys]
        if self.abuse_contact:
            settings["abuse_contact"] = self.abuse_contact
        if not self.local:
            port = int(self.ssh)
            settings["ssh.listen"] = [] if self.ssh is SshChoice.HTTPS_PORT else [Endpoint(EVERY_HOST, port)]
            settings["http.listen"] = [Endpoint(EVERY_HOST, 80)]
            settings["https.listen"] = [Endpoint(EVERY_HOST, 443)]
            settings["tcp.public_addresses"] = list(self.public_addresses)
        return settings

    def notes(self) -> dict[str, str]:
        """Explanations for settings whose value may surprise, by dotted key."""
        if self.local:
            return {}
        notes = {"tcp.public_addresses": "Open to the network here; a firewall must let the public range through."}
        if self.ssh is SshChoice.HTTPS_PORT:
            why = ": port 22 of this host was held by an SSH server when this was written" if self.sshd else ""
            notes["ssh.listen"] = f"Empty: SSH is served on the HTTPS port alone{why}."
        return notes

    def examples(self) -> dict[str, object]:
        """Values to show, commented out, for settings that have no default, by dotted key."""
        if self.local:
            return {}
        return {"abuse_contact": f"abuse@{self.domain}"}


def sshd_steps(banner: str | None) -> str:
    """How to move sshd away from port 22 without being locked out."""
    port = SSHD_ELSEWHERE
    return f"""\
Port 22 is held by an SSH server ({banner or "not answering"}). To move it to {port}, in this order:

  1. grep -rn '^ *Port' /etc/ssh/sshd_config /etc/ssh/sshd_config.d/
     where that shows a line, change it to `Port {port}`; where it shows none:
     echo 'Port {port}' | sudo tee /etc/ssh/sshd_config.d/10-port.conf
  2. a firewall must let {port} through, as in: sudo ufw allow {port}/tcp
  3. sudo sshd -t && sudo systemctl restart ssh
     (where `systemctl is-active ssh.socket` says active:
     sudo systemctl daemon-reload && sudo systemctl restart ssh.socket)
  4. keep this session open, and try from another terminal: ssh -p {port} YOU@THIS-HOST
  5. only when that works, start Ferry on 22
"""
