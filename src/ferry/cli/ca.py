"""`ferry ca`: how to trust the certificates that this gateway's own CA signs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferry.errors import FerryError, InvalidInput

from .options import ConfigFile, JsonOption, Output, OutputOption
from .output import print_json

if TYPE_CHECKING:
    from ferry.edge.tls.ca_trust import CaDescription


def ca(
    *,
    config: ConfigFile = None,
    state: Annotated[Path | None, typer.Option(help="The gateway's state folder.", readable=False)] = None,
    export: Annotated[bool, typer.Option("--export", help="Print the CA's certificate (PEM) alone.")] = False,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Print how to trust the gateway's own CA, which signs where no certificates are configured."""
    found = find_ca(state, config)
    if as_json:
        print_json(dataclasses.asdict(found) | {"path": str(found.path), "not_after": found.not_after.isoformat()})
        return
    if export:
        typer.echo(found.pem, nl=False)
        return
    typer.echo(found.text())
    typer.echo("\nTo carry it to another machine: ferry ca --export > ferry-ca.crt")


def find_ca(state: Path | None, config: Path | None) -> CaDescription:
    """The CA of the first state folder that has one. Raises FerryError with the folders that were tried."""
    from ferry.edge.tls.ca_trust import describe_ca
    from ferry.ownership import other_owner, rights_of

    from .locate import candidate_folders

    looked = []
    for folder in candidate_folders(state, os.environ, config=config):
        try:
            with rights_of(other_owner(folder.state)):
                return describe_ca(folder.state)
        except InvalidInput as error:
            looked.append(f"  {folder.because}: {error}")
    raise FerryError("no local CA found\n" + "\n".join(looked) + "\nName its state folder: `--state FOLDER`")
