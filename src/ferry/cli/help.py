"""`ferry help`, `ferry version`: as commands, for those who type them so."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Annotated

import typer

from ferry.errors import InvalidInput
from ferry.names import printable

from .described import all_commands, described
from .options import JsonOption, Output, OutputOption
from .output import print_json


def help_page(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(help="A command. Without it all are listed.")] = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Show how a command is used, or list all commands."""
    root, group = context.find_root(), all_commands(context)
    if command is None:
        if as_json:
            print_json([dataclasses.asdict(each) for each in described(group)])
        else:
            typer.echo(root.get_help())
        return
    found = group.get_command(root, command)
    if found is None:
        near = difflib.get_close_matches(command, group.list_commands(root), 1)
        hint = f"did you mean {near[0]}?" if near else "`ferry help` lists them"
        raise InvalidInput(f"no command '{printable(command, 60)}': {hint}")
    if as_json:
        print_json(next(dataclasses.asdict(each) for each in described(group) if each.name == command))
    else:
        typer.echo(found.get_help(typer.Context(found, info_name=command, parent=root)))


def version_text() -> str:
    """`ferry 0.1.0`."""
    from importlib.metadata import version

    return f"ferry {version('ferry')}"


def version_document() -> dict[str, object]:
    """The same for programs."""
    return {"version": version_text().removeprefix("ferry ")}


def version(as_json: JsonOption = False, _output: OutputOption = Output.TEXT) -> None:
    """Print the version."""
    if as_json:
        print_json(version_document())
    else:
        typer.echo(version_text())
