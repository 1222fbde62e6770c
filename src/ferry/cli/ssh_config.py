"""`ferry ssh-config`: the Host blocks of ssh_config(5) for the machines behind the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from ferry.names import Address

from .client import find_gateway, known_fields
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_json, quiet_pipe


def ssh_config(
    jump: Annotated[
        str | None,
        typer.Option(
            "--jump", help="The gateway as your own ssh_config calls it. Without it, a block `Host gw` is written too."
        ),
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Print ssh_config blocks for the machines: who holds a port for ssh, or an alias with port 22.

    The ports for ssh are those of the purpose `ssh` (`tcp.purposes`); without such a purpose, all that are on loopback.
    `ssh web-1` then goes through the gateway with ProxyJump. Your key needs the right to reach the machine: its own
    identity has it, and so has a key whose line says permitopen="localhost:21022".
    """
    from ferry.protocol.host_blocks import GATEWAY, Machine, gateway_block, host_blocks

    found = find_gateway(state, config).get("machines")
    with quiet_pipe(), known_fields():
        if as_json:
            print_json(found)
            return
        gateway = found["gateway"]
        if jump is None:
            for line in gateway_block(gateway["hostname"], gateway["port"]):
                typer.echo(line)
        machines = [
            Machine(one["host"], one["hostname"], one["port"], Address.from_key(one["key"]))
            for one in found["machines"]
        ]
        for line in host_blocks(machines, jump or GATEWAY):
            typer.echo(line)
        if not machines:
            typer.echo("no machine holds a port for ssh or an alias with port 22", err=True)
