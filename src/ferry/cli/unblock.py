"""`ferry unblock`: lists or unblocks addresses with too many failed log-ins."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import typer

from ferry.amounts import span
from ferry.errors import InvalidInput

from .client import find_gateway
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_json, quiet_pipe, safe


def unblock(
    address: Annotated[
        str | None, typer.Argument(help="An IPv4 or IPv6 address. Without it all blocked ones are listed.")
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Let a blocked address connect again at once, or list the addresses that are blocked.

    Exit codes: 0 when it was lifted or listed, 1 when the address is not blocked, 2 when it is no address.
    """
    if address is not None:
        _check(address)
    gateway = find_gateway(state, config)
    if address is not None:
        lifted = gateway.delete("blocked", address)
        print_json(lifted) if as_json else typer.echo(f"unblocked {safe(lifted['address'])}")
        return
    blocked = gateway.get("blocked")
    with quiet_pipe():
        if as_json:
            print_json(blocked)
        elif not blocked:
            typer.echo("no address is blocked")
        else:
            for one in blocked:
                typer.echo(f"{safe(one['address'])}  {span(one['seconds'])} more: {safe(one['why'])}")


def _check(address: str) -> None:
    """Raise InvalidInput unless `address` is an IPv4 address, or an IPv6 address with or without its /64."""
    try:
        ipaddress.ip_network(address.partition("%")[0], strict=False)
    except ValueError:
        raise InvalidInput(f"'{safe(address)}' is not an IPv4 or IPv6 address") from None
