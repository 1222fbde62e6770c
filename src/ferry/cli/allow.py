"""`ferry allow`: lets in a key that the gateway has refused, or lists those keys."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ferry.errors import FerryError, InvalidInput
from ferry.names import parse_label
from ferry.protocol.authorized_keys import parse_key
from ferry.protocol.key_edits import appended
from ferry.protocol.key_paths import parse_key_path

from .client import Gateway, rules_for, unread_keys
from .key_file import file_for, key_files
from .key_lines import Mistaken, lines_in, rewrite
from .locate import find_running
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import folded, print_json, print_note, quiet_pipe, safe
from .rules_texts import print_rules

_PREFIX: Final = "SHA256:"


def allow(
    fingerprint: Annotated[
        str | None, typer.Argument(help="SHA256:..., as the client shows it. Without it all refused keys are listed.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="A name for the key's identity.")] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="The login name whose file gets the key, where access.keys has %u.")
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Let in a key that was refused lately: add it to the file of `access.keys`.

    The gateway remembers the last refused keys until it restarts. A client only offered them: it proves that it holds
    one when it logs in. With a policy file, the rules for the key are named, or the rule to write. The file is that of the configuration, which must be what the running gateway uses. Exit codes: 0
    when the key was added or the keys were listed, 1 when the gateway has not seen the key, has seen it with several login names (--user says which), uses another file, when a line of
    the files has the key (the line and what to write there are named), or the file cannot be written (the line to add is printed then), 2 for an invalid fingerprint or name.
    """
    if name is not None:
        parse_label(name, "name")
    if fingerprint is not None and not fingerprint.startswith(_PREFIX):
        raise InvalidInput(f"'{safe(fingerprint)}' is no fingerprint: write it as the client shows it, SHA256:...")
    running = find_running(state, os.environ, config=config)
    answer = Gateway(running.state).get("refused-keys")
    if fingerprint is None:
        _list(answer["keys"], as_json=as_json)
        return
    key = _find(answer["keys"], fingerprint)
    line = key["line"] + (f" name={name}" if name else "")
    try:
        parse_key(line)
    except InvalidInput as error:
        raise FerryError(f"this key cannot be let in: {error}") from None
    files = key_files(answer["files"], config or running.config, running.state)
    path = file_for(files, user, key["users"])
    if name and parse_key_path(Path(files[0])).part:
        raise InvalidInput(
            f"{safe(files[0])} has a file for each login name, in which a key has no name: leave out {safe(name)}"
        )
    try:
        stands = _line_with(key["fingerprint"], [Path(file) for file in files])
        if not stands:
            rewrite(path, lambda text: appended(text, line), make=True)
    except FerryError as error:
        if as_json:
            print_json({"fingerprint": key["fingerprint"], "file": None, "line": line})
        else:
            typer.echo(line)
        raise FerryError(f"{error}: add the line above to {path}") from None
    unread = unread_keys(Gateway(running.state))
    if stands:
        raise FerryError(f"{stands}\n{unread}" if unread else stands)
    if unread:
        print_note(unread, as_json=as_json)
    with suppress(FerryError):  # the key is in the file, whether the audit log has a record of it or not
        Gateway(running.state).post("allowed", {"fingerprint": key["fingerprint"], "file": str(path)})
    rules = None
    with suppress(FerryError):  # likewise
        rules = rules_for(Gateway(running.state), key["fingerprint"], name)
    if as_json:
        print_json({"fingerprint": key["fingerprint"], "file": str(path), "line": line, "policy": rules})
    else:
        typer.echo(f"added {key['fingerprint']} to {safe(str(path))}: it may log in within a few seconds")
        if rules is not None:
            print_rules(rules)


def _list(keys: list[dict[str, Any]], *, as_json: bool) -> None:
    with quiet_pipe():
        if as_json:
            print_json(keys)
        elif not keys:
            typer.echo("no key was refused since the gateway started")
        else:
            for key in keys:
                algorithm = key["line"].partition(" ")[0]
                where = f"{_users(key)}@{safe(key['host'])}"
                typer.echo(f"{key['fingerprint']}  {algorithm}  {where}  {key['at']}  offered, not proven")
                for why in key.get("shut", ()):
                    typer.echo(folded(why, "  "))


def _users(key: dict[str, Any]) -> str:
    return ",".join(map(safe, key["users"]))


def _find(keys: list[dict[str, Any]], fingerprint: str) -> dict[str, Any]:
    """The key with this fingerprint. Raises FerryError if there is none. A part of one is not enough: a stranger can make
    a key whose fingerprint begins like another's, and offer it."""
    for key in keys:
        if key["fingerprint"] == fingerprint:
            return key
    if not any(key["fingerprint"].startswith(fingerprint) for key in keys):
        raise FerryError(
            f"the gateway remembers no refused key {safe(fingerprint)}: let its owner try to log in, then repeat this; "
            "`ferry allow` lists those that it remembers"
        )
    raise FerryError(f"{safe(fingerprint)} is a part of a fingerprint: write all of it, as the client shows it")


def _line_with(fingerprint: str, files: list[Path]) -> str:
    """The line of the files that has the key, and what to do there; empty if there is none. A second line without options
    would let it do what the first one forbids. Raises FerryError if a file cannot be read."""
    mistakes: list[Mistaken] = []
    lines = lines_in(files, mistakes)
    for one in mistakes:
        if one.key is not None and one.key.fingerprint == fingerprint:
            return f"{one.place} has this key, and is refused: {one.why}: correct that line, and add no other"
    for line in lines:
        if line.key.fingerprint != fingerprint:
            continue
        if line.disabled:
            name = line.name or fingerprint
            return f"{line.place} has this key, and is disabled: `ferry keys enable {name}` lets it in again"
        return f"the key stands in {line.place} already: the gateway reads a changed file within a second"
    return ""
