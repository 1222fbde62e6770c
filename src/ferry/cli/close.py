"""`ferry close`: close a tunnel, or a connection with all its tunnels."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .client import ApiError, Gateway, find_gateway
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_json, safe


def close(
    target: Annotated[
        str, typer.Argument(help="A name, hostname, URL, port, alias, or the id of a tunnel or connection.")
    ],
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Close a tunnel, or a connection with all its tunnels. The owner is told, and keeps the name.

    Exit codes: 0 when it was closed, 1 when there is no such tunnel or connection.
    """
    closed = _close(find_gateway(state, config), target)
    if as_json:
        print_json(closed)
    elif closed["what"] == "connection":
        who = f"{safe(closed['identity'])} from {safe(closed['address'])}"
        typer.echo(f"closed connection {safe(closed['id'])} of {who}")
    else:
        typer.echo(f"closed {safe(closed['address'])} of {safe(closed['identity'])}")


def _close(gateway: Gateway, target: str) -> Any:
    try:
        return gateway.delete("tunnels", target)
    except ApiError as no_tunnel:
        if no_tunnel.status != 404:
            raise
        try:
            return gateway.delete("connections", target)
        except ApiError as no_connection:
            # Names are what people mistype: the tunnel's answer has the nearest one.
            raise no_tunnel if no_connection.status == 404 else no_connection from None
