"""Makes the manual pages ferry(1) and ferry.toml(5), in man(7), from the help texts and the configuration's model."""

from __future__ import annotations

import re
from collections.abc import Iterable

from typer.core import TyperGroup

from .described import Parameter, before_commands, described
from .manual import EXIT_CODES


def commands_man(group: TyperGroup) -> str:
    """ferry(1)."""
    lines = [
        *_head("FERRY", 1, "ferry \\- a self\\-hosted reverse\\-SSH tunnel gateway"),
        ".SH SYNOPSIS",
        ".B ferry",
        "COMMAND [OPTIONS]",
        ".SH DESCRIPTION",
        _text("Ferry gives web addresses, TCP ports and private machines over stock ssh."),
        _text("An error is one text on standard error that says what to do. FERRY_DEBUG=1 adds the traceback."),
        ".PP",
        _text("These options may stand before a command too:"),
    ]
    for option in before_commands(group):
        lines += _tagged(option)
    lines.append(".SH COMMANDS")
    for command in described(group):
        lines += [f".SS {_text(f'ferry {command.name} {command.usage}'.rstrip())}"]
        for paragraph in command.help.split("\n\n"):
            lines += [".PP", _text(paragraph)]
        for parameter in command.parameters:
            lines += _tagged(parameter)
    lines.append(".SH EXIT STATUS")
    for code, meaning in EXIT_CODES.items():
        lines += [".TP", f".B {code}", _text(meaning)]
    lines += [".SH FILES", ".TP", ".I /etc/ferry/ferry.toml", "the configuration of the installed gateway"]
    lines += [".TP", ".I /var/lib/ferry", _text("its state: database, host keys, local CA; `ferry backup` copies it")]
    lines += [".SH SEE ALSO", ".BR ferry.toml (5),", ".BR ssh (1)"]
    return "\n".join(lines) + "\n"


def configuration_man() -> str:
    """ferry.toml(5)."""
    from ferry.config.file import env_name
    from ferry.config.model import Config
    from ferry.config.words import FIELDS, SECTIONS
    from ferry.setup.values import default_of, kind, toml

    def fields(keys: Iterable[str]) -> list[str]:
        lines = []
        for key in keys:
            default = default_of(key)
            shown = "not set" if default is None else f"default {toml(key, default)}"
            lines += [".TP", f".B {_text(key.rpartition('.')[2])}"]
            lines += [_text(f"{kind(key)}; {shown}; {env_name(key)}"), ".br", _text(FIELDS[key].description or "")]
        return lines

    lines = [
        *_head("FERRY.TOML", 5, "ferry.toml \\- configuration of the ferry gateway"),
        ".SH DESCRIPTION",
        _text(
            "A TOML file for `ferry serve --config FILE`. `ferry init` writes one that explains every setting, and "
            "`ferry check-config` checks it. A variable of the environment overrides a key of the file, and a flag both."
        ),
        ".SH TOP LEVEL",
        *fields(key for key in FIELDS if "." not in key),
    ]
    for section in SECTIONS:
        lines += [f".SH [{section}]", _text(Config.model_fields[section].description or "")]
        lines += fields(key for key in FIELDS if key.startswith(f"{section}."))
    lines += [".SH FILES", ".TP", ".I /etc/ferry/ferry.toml", "the configuration of the installed gateway"]
    lines += [".SH SEE ALSO", ".BR ferry (1)"]
    return "\n".join(lines) + "\n"


def _head(title: str, section: int, name: str) -> list[str]:
    from ferry import __version__

    return [f'.TH {title} {section} "" "ferry {__version__}"', ".SH NAME", name]


def _tagged(parameter: Parameter) -> list[str]:
    names = ", ".join(parameter.names) if parameter.is_option else parameter.value.upper()
    value = f" {parameter.value}" if parameter.is_option else ""
    return [".TP", f".B {_text(names + value)}", _text(parameter.help or "Show the help.")]


def _text(text: str) -> str:
    """Text for man(7): characters with a meaning escaped, and no line that begins with a dot or a quote."""
    plain = " ".join(text.split())
    escaped = plain.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return re.sub(r"^([.'])", r"\\&\1", escaped)
