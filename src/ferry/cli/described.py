"""The commands and their options as plain values, for what is generated from them: completion and manual pages."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Parameter:
    """An option (`names` begin with dashes) or an argument."""

    names: tuple[str, ...]
    help: str
    value: str
    """`<path>`, `<text|json>`; empty for a flag."""
    choices: tuple[str, ...] = ()

    @property
    def is_option(self) -> bool:
        return self.names[0].startswith("-")


@dataclass(frozen=True, slots=True)
class Described:
    """A command."""

    name: str
    short: str
    help: str
    usage: str
    """What follows the name: `[OPTIONS] FILE`."""
    parameters: tuple[Parameter, ...]

    @property
    def options(self) -> list[Parameter]:
        return [each for each in self.parameters if each.is_option]

    @property
    def arguments(self) -> list[Parameter]:
        return [each for each in self.parameters if not each.is_option]


def all_commands(context: typer.Context) -> TyperGroup:
    """The group that the command of `context` is in."""
    group = context.find_root().command
    assert isinstance(group, TyperGroup)
    return group


def described(group: TyperGroup) -> list[Described]:
    """All commands, in the order of the help."""
    context = _context(group)
    found = []
    for name in group.list_commands(context):
        command: Any = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        parameters = tuple(_parameter(each) for each in command.get_params(inner))
        found.append(Described(name, command.get_short_help_str(200), command.help or "", usage, parameters))
    return found


def before_commands(group: TyperGroup) -> list[Parameter]:
    """The options that stand before a command."""
    return [_parameter(each) for each in group.get_params(_context(group))]


def _context(group: TyperGroup) -> typer.Context:
    return typer.Context(group, info_name="ferry", **group.context_settings)


def _parameter(parameter: Any) -> Parameter:
    kind: type = parameter.type_descriptor.annotation
    choices = tuple(str(each.value) for each in kind) if issubclass(kind, enum.Enum) else ()
    text = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        return Parameter((str(parameter.name),), text, str(parameter.name), choices)
    value = "" if parameter.is_flag else f"<{'|'.join(choices) or kind.__name__.lower()}>"
    # Click keeps the names of --help in a set, whose order differs from one start to the next.
    names = sorted((*parameter.opts, *parameter.secondary_opts), key=lambda name: name.startswith("--"))
    return Parameter(tuple(names), text, value, choices)
