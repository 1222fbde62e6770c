"""`ferry forget-host-key`: lets a host key change. Only the operator may decide that, never the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, Output, OutputOption
from .output import print_json

Algorithm = Annotated[str, typer.Argument(help="ssh-ed25519, ssh-rsa or ecdsa, as named in the gateway's error.")]
StateFolder = Annotated[Path, typer.Option("--state", help="The gateway's state folder.", readable=False)]


def forget_host_key(
    algorithm: Algorithm,
    state: StateFolder = Path("ferry-data"),
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Forget the host key by which clients know this gateway. The next start may use or make another one.

    The gateway must be stopped. Clients that know the old key will refuse the new one until they are told.
    """
    import asyncio

    from ferry.gateway.stopped import forget_host_key as forget
    from ferry.ownership import other_owner, rights_of

    with rights_of(other_owner(state)):
        old = asyncio.run(forget(state, algorithm))
    if as_json:
        print_json({"algorithm": algorithm, "forgotten": old})
        return
    typer.echo(f"forgotten: {algorithm} {old}. Clients forget it with ssh-keygen -R and the gateway's address.")
