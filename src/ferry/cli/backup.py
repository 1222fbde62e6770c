"""`ferry backup` and `ferry restore`: the state folder in one file."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferry.amounts import size

from .options import ConfigOption, JsonOption, Output, OutputOption
from .output import print_json

if TYPE_CHECKING:
    from ferry.gateway.archive import Backup

StateFolder = Annotated[
    Path | None,
    typer.Option("--state", help="The state folder. Without it that of the installed gateway.", readable=False),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, such as ferry.tar.gz.", readable=False)],
    state: StateFolder = None,
    config: ConfigOption = None,
    force: Force = False,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Write the database, the host keys and the local CA into one file, also while the gateway runs.

    The file is as secret as the state folder: who has it can pose as this gateway. Its mode is 0600.
    """
    from ferry.clock import SystemClock
    from ferry.gateway.archive import back_up

    from .locate import find_data

    made = back_up(find_data(state, os.environ, config=config), file, clock=SystemClock(), force=force)
    if as_json:
        print_json(_document(made))
        return
    typer.echo(f"wrote {made.file} ({size(made.size)}, mode 0600): {_contents(made)} of {made.state}")
    typer.echo(
        "It holds the host keys and the key of the local CA: who has it can pose as this gateway. Keep it secret."
    )


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `ferry backup` has written.", readable=False)],
    state: StateFolder = None,
    config: ConfigOption = None,
    force: Force = False,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Put the data of a backup into the state folder. The gateway must be stopped.

    With --force, data that are there are moved into a folder beside them. A backup of a newer version is refused.
    """
    from ferry.clock import SystemClock
    from ferry.gateway.archive import restore as put_back

    from .locate import find_data

    folder = find_data(state, os.environ, config=config, needed=False)
    done = put_back(file, folder, clock=SystemClock(), force=force)
    if as_json:
        print_json(_document(done))
        return
    typer.echo(f"restored {_contents(done)} into {done.state}, as they were at {done.made} (ferry {done.version})")
    typer.echo("Start the gateway now: `systemctl start ferry`, or `ferry serve` with this state folder.")


def _contents(made: Backup) -> str:
    keys = sum(name.startswith("ssh_host_") and not name.endswith(".pub") for name in made.files)
    ca = ", local CA" if any(name.startswith("ca/") for name in made.files) else ""
    return f"database, {keys} host key{'' if keys == 1 else 's'}{ca}"


def _document(made: Backup) -> dict[str, object]:
    return dataclasses.asdict(made) | {"file": str(made.file), "state": str(made.state)}
