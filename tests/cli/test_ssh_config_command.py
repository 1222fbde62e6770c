"""`ferry ssh-config`, beside what a real gateway answers (`e2e/test_reaching_ports.py`)."""

from __future__ import annotations

from pathlib import Path

from console_commands import run, running
from ferry.cli.ssh_config import ssh_config
from ferry.console.models import GatewayInfo, MachineInfo, MachineList
from small_gateway import SmallGateway

MACHINES = MachineList(
    gateway=GatewayInfo(hostname="gw.example.com", port=443),
    machines=[MachineInfo(host="web-1", hostname="localhost", port=21022, key="tcp::21022", up=False)],
)


async def test_blocks_are_for_a_gateway_of_ones_own_name_or_have_one(tmp_path: Path) -> None:
    where = ("--state", str(tmp_path))
    async with running(tmp_path, SmallGateway(machines=MACHINES)):
        told = await run(ssh_config, *where)
        assert told.lines == [
            "Host gw", "    HostName gw.example.com", "    Port 443", "",
            "Host web-1", "    HostName localhost", "    Port 21022", "    ProxyJump gw", "    HostKeyAlias web-1",
        ]  # fmt: skip
        own = await run(ssh_config, "--jump", "bastion", *where)
        assert own.lines[:2] == ["", "Host web-1"]
        assert "    ProxyJump bastion" in own.lines
        assert (await run(ssh_config, "--json", *where)).json == MACHINES.model_dump()


async def test_a_gateway_without_machines_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, SmallGateway()):
        told = await run(ssh_config, "--state", str(tmp_path))
        assert told.lines[-1] == "no machine holds a port for ssh or an alias with port 22"
