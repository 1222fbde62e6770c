"""`ferry docs`: the reference pages that are generated from the program."""

from __future__ import annotations

import enum
from typing import Annotated

import typer
from typer.core import TyperGroup

from .described import all_commands
from .options import JsonOption, Output, OutputOption
from .output import print_json


class Page(enum.StrEnum):
    """What can be printed."""

    CONFIGURATION = "configuration"
    COMMANDS = "commands"
    MAN = "man"
    """ferry(1)"""
    MAN_CONFIGURATION = "man-configuration"
    """ferry.toml(5)"""


def docs(
    context: typer.Context,
    page: Annotated[Page, typer.Argument(help="Which page.")],
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Print a reference page in Markdown, or a manual page for man, generated from this very program."""
    group = all_commands(context)
    text = text_of(page, group)
    if as_json:
        print_json({"page": page.value, "text": text})
    else:
        typer.echo(text, nl=False)


def text_of(page: Page, group: TyperGroup) -> str:
    """The page's text, as `docs/reference/` has it; `group` holds all commands."""
    if page is Page.CONFIGURATION:
        from ferry.setup.reference import configuration_page

        return configuration_page()
    if page is Page.MAN:
        from .man import commands_man

        return commands_man(group)
    if page is Page.MAN_CONFIGURATION:
        from .man import configuration_man

        return configuration_man()
    from .manual import commands_page

    return commands_page(group)
