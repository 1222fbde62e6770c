"""`ferry unblock`: addresses that are refused because too many logins from them have failed."""

from __future__ import annotations

from typing import Annotated

import typer

from .client import ConfigOption, JsonOption, StateOption, find_gateway
from .output import print_json, quiet_pipe, safe, span


def unblock(
    address: Annotated[
        str | None, typer.Argument(help="An IPv4 or IPv6 address. Without it all blocked ones are listed.")
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a blocked address connect again at once, or list the addresses that are blocked.

    Exit codes: 0 when it was lifted or listed, 1 when the address is not blocked.
    """
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
