"""`ferry help`, `ferry version`: as commands, for those who type them so."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer
from typer.core import TyperGroup

from ferry.errors import InvalidInput
from ferry.names import printable

from .options import JsonOption, Output, OutputOption
from .output import print_json


def help_page(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(help="A command. Without it all are listed.")] = None,
) -> None:
    """Show how a command is used, or list all commands."""
    root = context.find_root()
    group = root.command
    assert isinstance(group, TyperGroup)
    if command is None:
        typer.echo(root.get_help())
        return
    found = group.get_command(root, command)
    if found is None:
        near = difflib.get_close_matches(command, group.list_commands(root), 1)
        hint = f"did you mean {near[0]}?" if near else "`ferry help` lists them"
        raise InvalidInput(f"no command '{printable(command, 60)}': {hint}")
    typer.echo(found.get_help(typer.Context(found, info_name=command, parent=root)))


def version_text() -> str:
    """`ferry 0.1.0`."""
    from importlib.metadata import version

    return f"ferry {version('ferry')}"


def version(as_json: JsonOption = False, output: OutputOption = Output.TEXT) -> None:
    """Print the version."""
    if as_json or output is Output.JSON:
        print_json({"version": version_text().removeprefix("ferry ")})
    else:
        typer.echo(version_text())
