"""`ferry import sshd_config`: the settings of an OpenSSH server as Ferry's."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonOption, Output, OutputOption
from .output import folded, print_json

if TYPE_CHECKING:
    from ferry.setup.sshd_import import Translation


class Origin(enum.StrEnum):
    """What can be translated."""

    SSHD_CONFIG = "sshd_config"


def import_settings(
    origin: Annotated[Origin, typer.Argument(help="What to translate.", metavar="sshd_config")],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An sshd_config, or the output of `sshd -T`; - reads standard input.")
    ],
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Print the settings of an OpenSSH server as a configuration for Ferry, as far as Ferry has them. On stderr: which
    settings do not carry over, and why.

    `ferry import sshd_config /etc/ssh/sshd_config > ferry.toml`, then `ferry check-config --config ferry.toml`. Exit codes:
    0 when something carried over, 2 when the file cannot be read.
    """
    from ferry.setup.sshd_files import read_config
    from ferry.setup.sshd_import import translate
    from ferry.setup.sshd_toml import checked, text_of

    assert origin is Origin.SSHD_CONFIG
    read = read_config(file)
    made = translate(read.parsed)
    carried, refused = checked(made.carried)
    text, notes = text_of(read.parsed.name, carried), [*refused, *read.left_out]
    if as_json:
        left = [{"settings": where, "why": why} for why, where in _grouped(made).items()]
        print_json({"file": file, "text": text, "left": left, "notes": notes})
        return
    typer.echo(text, nl=False)
    for why, where in _grouped(made).items():
        typer.echo(folded(f"{', '.join(where)}:", later="  "), err=True)
        typer.echo(folded(why, "    "), err=True)
    for sentence in notes:
        typer.echo(folded(sentence), err=True)


def _grouped(made: Translation) -> dict[str, list[str]]:
    """The keywords that stay behind, by the reason."""
    grouped: dict[str, list[str]] = {}
    for each in made.left:
        place = f" ({made.where(each.place)})" if each.place.line else ""
        grouped.setdefault(each.why, []).append(f"{each.keyword}{place}")
    return grouped
