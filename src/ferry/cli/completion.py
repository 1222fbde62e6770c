"""`ferry completion`: what a shell completes after `ferry`. The scripts need no Python at each press of Tab."""

from __future__ import annotations

import enum
from typing import Annotated

import typer
from typer.core import TyperGroup

from .described import Described, Parameter, all_commands, before_commands, described
from .options import JsonOption, Output, OutputOption
from .output import print_json


class Shell(enum.StrEnum):
    """The shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="Which shell.")],
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Print a script that completes commands and options. `make install` installs all three.

    For one user: `ferry completion bash > ~/.local/share/bash-completion/completions/ferry`.
    """
    group = all_commands(context)
    if as_json:
        print_json({"shell": shell.value, "text": script(shell, group)})
    else:
        typer.echo(script(shell, group), nl=False)


def script(shell: Shell, group: TyperGroup) -> str:
    """The text of one script."""
    commands, options = described(group), before_commands(group)
    match shell:
        case Shell.BASH:
            return _bash(commands, options)
        case Shell.ZSH:
            return _zsh(commands, options)
        case Shell.FISH:
            return _fish(commands, options)


def _words(command: Described, commands: list[Described]) -> list[str]:
    """What may stand for the arguments of a command, where that is known."""
    if command.name == "help":
        return [each.name for each in commands]
    return [choice for argument in command.arguments for choice in argument.choices]


def _bash(commands: list[Described], before: list[Parameter]) -> str:
    values = [_bash_value("", option) for option in before if option.value]
    options = []
    for command in commands:
        values += [_bash_value(command.name, option) for option in command.options if option.value]
        names = " ".join(name for option in command.options for name in option.names)
        options.append(f"        {command.name}) options='{names}' words='{' '.join(_words(command, commands))}' ;;")
    first = " ".join(name for option in before for name in option.names)
    listed = " ".join(command.name for command in commands)
    return f"""\
# bash completion for ferry, written by `ferry completion bash`
_ferry() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= options= words= word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {listed} " in
            *" $word "*) command=$word; break ;;
        esac
    done
    case $command/$previous in
{chr(10).join(values)}
    esac
    case $command in
        '') options='{first}' words='{listed}' ;;
{chr(10).join(options)}
    esac
    case $current in
        -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
        *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    esac
}}
complete -o default -F _ferry ferry
"""


def _bash_value(command: str, option: Parameter) -> str:
    pattern = "|".join(f"{command}/{name}" for name in option.names)
    chosen = f"-W '{' '.join(option.choices)}'" if option.choices else "-f"
    return f'        {pattern}) COMPREPLY=($(compgen {chosen} -- "$current")); return ;;'


def _zsh(commands: list[Described], before: list[Parameter]) -> str:
    listed = "\n".join(f"        {_quoted(f'{_colon(each.name)}:{each.short}')}" for each in commands)
    cases = []
    for command in commands:
        specs = [_zsh_option(option) for option in command.options]
        specs += _zsh_arguments(command, commands)
        cases.append(f"        {command.name})\n            _arguments {' '.join(specs)} ;;")
    return f"""\
#compdef ferry
# zsh completion for ferry, written by `ferry completion zsh`
_ferry() {{
    local state line
    local -a commands
    commands=(
{listed}
    )
    _arguments -C {" ".join(_zsh_option(option) for option in before)} \\
        '1:command:->command' '*::argument:->rest'
    case $state in
        command) _describe command commands ;;
        rest) case $line[1] in
{chr(10).join(cases)}
        esac ;;
    esac
}}
if [ "$funcstack[1]" = _ferry ]; then
    _ferry "$@"  # this file is the function itself, loaded from $fpath
else
    compdef _ferry ferry
fi
"""


def _zsh_arguments(command: Described, commands: list[Described]) -> list[str]:
    words = " ".join(_words(command, commands))
    if not words:
        return ["'*:file:_files'"]
    if len(command.arguments) == 1:
        return [_quoted(f"*:{command.name}:({words})")]
    return [_quoted(f"1:{command.name}:({words})"), "'*:file:_files'"]


def _zsh_option(option: Parameter) -> str:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", " -")
    value = ""
    if option.value:
        value = f":value:({' '.join(option.choices)})" if option.choices else ":value:_files"
    return " ".join(_quoted(f"{name}[{text}]{value}") for name in option.names)


def _colon(text: str) -> str:
    return text.replace(":", "\\:")


def _fish(commands: list[Described], before: list[Parameter]) -> str:
    first = "complete -c ferry -n __fish_use_subcommand"
    lines = [
        "# fish completion for ferry, written by `ferry completion fish`",
        f"{first} -f",
        *(_fish_option(first, option) for option in before),
        *(f"{first} -a {each.name} -d {_quoted(each.short)}" for each in commands),
    ]
    for command in commands:
        seen = f"complete -c ferry -n '__fish_seen_subcommand_from {command.name}'"
        if words := _words(command, commands):
            files = "" if len(command.arguments) > 1 else " -f"
            lines.append(f"{seen}{files} -a {_quoted(' '.join(words))}")
        lines += [_fish_option(seen, option) for option in command.options]
    return "\n".join(lines) + "\n"


def _fish_option(command: str, option: Parameter) -> str:
    names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in option.names)
    value = ""
    if option.value:
        value = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r -F"
    return f"{command} {names}{value} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    """One word for a POSIX shell, which zsh reads alike. Fish too, as there are no backslashes in the texts."""
    return "'" + text.replace("'", "'\\''") + "'"
