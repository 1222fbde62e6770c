"""What people write to reach a machine."""

from __future__ import annotations

import pytest

from ferry.cli.keys_texts import Listening, Machine, listening

SERVICE = listening("service", 21010, None, loopback=True)
SSH = listening("ssh", 21000, None, loopback=True)
GATEWAY = ["Host gw", "    HostName gw.example", "    Port 2222", ""]
BLOCK = ["    HostName localhost", "    Port 21000", "    ProxyJump gw"]


@pytest.mark.parametrize(
    ("name", "ports", "lines"),
    [
        ("web-1", [], []),
        ("web-1", [SERVICE], []),
        ("web-1", [SERVICE, SSH], [*GATEWAY, "Host web-1", *BLOCK, "    HostKeyAlias web-1"]),
        ("web-1", [SSH._replace(label="ssh:root")], [*GATEWAY, "Host web-1", *BLOCK, "    HostKeyAlias web-1"]),
        ("gw", [SSH], [*GATEWAY, "Host gw-21000", *BLOCK, "    HostKeyAlias gw-21000"]),
        (
            "web-1", [SSH._replace(loopback=False)],
            ["Host web-1", "    HostName gw.example", "    Port 21000", "    HostKeyAlias web-1"],
        ),
    ],
)  # fmt: skip
def test_they_go_through_the_gateway_unless_the_port_is_public(
    name: str, ports: list[Listening], lines: list[str]
) -> None:
    machine = Machine(name, "root", "gw.example", 2222, ports)
    assert machine.texts()["operator_ssh_config"].splitlines() == lines
