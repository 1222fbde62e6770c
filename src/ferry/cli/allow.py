"""`ferry allow`: lets in a key that the gateway has refused, or lists those keys."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ferry.errors import FerryError, InvalidInput
from ferry.names import parse_label
from ferry.ownership import other_owner_on_the_way, rights_of, user_name
from ferry.protocol.authorized_keys import parse_key
from ferry.protocol.key_paths import parse_key_path
from ferry.regular_files import NotAFile, open_regular

from .client import Gateway
from .key_file import file_for, key_files
from .locate import find_running
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_json, quiet_pipe, safe

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
    output: OutputOption = Output.TEXT,
) -> None:
    """Let in a key that was refused lately: add it to the file of `access.keys`.

    The gateway remembers the last refused keys until it restarts. A client only offered them: it proves that it holds
    one when it logs in. The file is that of the configuration, which must be what the running gateway uses. Exit codes: 0
    when the key was added or the keys were listed, 1 when the gateway has not seen the key, has seen it with several login names (--user says which), uses another file, or the file
    cannot be written (the line to add is printed then), 2 for an invalid fingerprint or name.
    """
    as_json = as_json or output is Output.JSON
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
    owner = other_owner_on_the_way(path)
    try:
        with rights_of(owner):
            _append(path, line)
    except OSError as error:
        if as_json:
            print_json({"fingerprint": key["fingerprint"], "file": None, "line": line})
        else:
            typer.echo(line)
        whose = "" if owner is None else f" by {user_name(owner)}, whose folder it is"
        fix = "correct access.keys, and add" if isinstance(error, NotAFile) else "add"
        raise FerryError(f"{path} cannot be written{whose} ({error.strerror}): {fix} the line above to it") from None
    with suppress(FerryError):  # the key is in the file, whether the audit log has a record of it or not
        Gateway(running.state).post("allowed", {"fingerprint": key["fingerprint"], "file": str(path)})
    if as_json:
        print_json({"fingerprint": key["fingerprint"], "file": str(path), "line": line})
    else:
        typer.echo(f"added {key['fingerprint']} to {safe(str(path))}: it may log in within a few seconds")


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


def _append(path: Path, line: str) -> None:
    """Add a line, also behind a last line without an end. The user of the service must be able to read a new file, and
    public keys are no secret."""
    new = not path.exists()
    with os.fdopen(open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "r+b") as file:
        if new:
            os.fchmod(file.fileno(), 0o644)
        text = file.read()
        file.write((b"" if not text or text.endswith(b"\n") else b"\n") + line.encode() + b"\n")
