"""`ferry release`: gives reserved names back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .client import ApiError, find_gateway
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_json, safe


def release(
    names: Annotated[list[str], typer.Argument(help="Reserved names, hostnames, ports or aliases.")],
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Give reserved names back, without a rest: anybody may claim them next.

    A tunnel that is up stays up, and its name is free when it closes: `ferry close` closes it. `ferry ls --names` lists
    all names.

    Exit codes: 0 when all were given back, 1 when one of them is not reserved; those before it are given back.
    """
    gateway = find_gateway(state, config)
    done: list[dict[str, Any]] = []
    try:
        done.extend(gateway.delete("names", name) for name in names)
    except ApiError:
        _show(done, as_json=as_json)
        raise
    _show(done, as_json=as_json)


def _show(done: list[Any], *, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    for one in done:
        note = ": it is free when its tunnel closes" if one["live"] else ""
        typer.echo(f"released {safe(one['address'])} of {safe(one['identity'])}{note}")
        for line in one.get("lines", ()):
            typer.echo(f"  {safe(line)} keeps it still: take it out of permitlisten= there, too")
