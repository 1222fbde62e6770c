"""The options that several commands share, and the settings that they override."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from ferry.config.file import ConfigSource

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file (TOML). Without it only the environment and the flags count.",
        readable=False,
    ),
]
Domain = Annotated[str | None, typer.Option(help="Tunnels get names below this domain.")]
State = Annotated[Path | None, typer.Option(help="Folder for all data that survives a restart.", readable=False)]
SshListen = Annotated[str | None, typer.Option(help="Addresses that serve SSH, such as 127.0.0.1:2222 or *:2222.")]
HttpListen = Annotated[str | None, typer.Option(help="Addresses that serve plain HTTP.")]
HttpsListen = Annotated[str | None, typer.Option(help="Addresses that serve HTTPS, and SSH too.")]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state", help="The gateway's state folder. Without it the command tries the usual folders.", readable=False
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The gateway's configuration file, which names its state folder.", readable=False),
]


class Output(enum.StrEnum):
    """The form of what a command prints."""

    TEXT = "text"
    JSON = "json"


def _anywhere(context: typer.Context) -> bool:
    """Whether JSON is asked for before the command or behind it, in any spelling: `wants_json` of the command line, which
    is the context's object."""
    return context.obj is True


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Text for people, or JSON for programs.")]
"""For the help and for its values alone: a command looks at its `JsonOption`."""
JsonOption = Annotated[bool, typer.Option("--json", callback=_anywhere, help="The same as --output json.")]
"""Whether the answer is to be JSON."""
_SPELLINGS: Final = ("--json", "--output=json", "-ojson")
LogFormat = Annotated[str | None, typer.Option(help="auto, human or json.")]


def wants_json(words: Sequence[str]) -> bool:
    """Whether a command line asks for JSON, before its command or behind it, also if it is wrong in other ways: its error
    is JSON then too."""
    previous = ""
    for word in words:
        if word == "--":
            return False
        if word in _SPELLINGS or (word == "json" and previous in ("--output", "-o")):
            return True
        previous = word
    return False


def source(
    config: Path | None,
    *,
    domain: str | None = None,
    state: Path | None = None,
    ssh_listen: str | None = None,
    http_listen: str | None = None,
    https_listen: str | None = None,
    log_format: str | None = None,
) -> ConfigSource:
    """The sources of a command's configuration: its file, this process's environment, its flags."""
    from ferry.config.file import ConfigSource

    flags = {
        "domain": domain,
        "state": state,
        "ssh.listen": ssh_listen,
        "http.listen": http_listen,
        "https.listen": https_listen,
        "log.format": log_format,
    }
    return ConfigSource(config, os.environ, flags)
