"""`ferry keys`: the keys of a fleet, with their ports."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from ferry.errors import InvalidInput

from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption


class Action(enum.StrEnum):
    """What to do."""

    LIST = "list"
    ADD = "add"
    DISABLE = "disable"
    ENABLE = "enable"
    REPLACE = "replace"
    REMOVE = "remove"


def keys(
    action: Annotated[Action, typer.Argument(help="What to do.")] = Action.LIST,
    name: Annotated[
        str | None, typer.Argument(help="The name of the machine or person, or SHA256:... of a key.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Argument(help="For add and replace: a .pub file, - for standard input, or the public key itself."),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            help="For add: allocate a port of this purpose (`tcp.purposes`). `service:grafana` tells several apart; "
            "`service=3000` names the local port for the texts.",
        ),
    ] = None,
    origins: Annotated[str | None, typer.Option("--from", help="For add: from where it may log in (from=).")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="For add: until when, as 20261231 (expiry-time=).")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", help="For add: the login name, which chooses the file if access.keys has %u."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="For remove: do not give names and ports back.")] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """List the keys of the key files, or change them.

    `list` shows each key with its options, its ports and when it was last seen. `add NAME KEY --listen ssh` allocates a
    port for good, adds the line to the first file of `access.keys`, and prints the line, and what to write on both ends. With
    a policy file (`access.policy`) it says which rules let NAME publish the port and people reach it, or the rules to write.
    `disable NAME` puts `#disabled` before its lines, which sshd takes for a comment too, and `enable NAME` takes it away.
    `replace NAME KEY` is for a machine with a new key: names, ports and history are the new key's, and the old one is let
    in no more. `remove NAME` takes the lines out, and gives its names and ports back unless --keep is given. Connections
    of keys that are not let in any more end within seconds. Where another line still lets the key in, these commands name
    that line and end with 1.

    A gateway that runs is asked; for one that has stopped the command opens its state folder. Exit codes: 0 done, 1 the file
    cannot be written (what to write is printed then) or there is no such key, 2 a wrong argument.
    """
    from .keys_changes import add, change, list_keys, remove, replace
    from .keys_door import find_door

    _check(action, name, key, {"--listen": listen, "--from": origins, "--expires": expires, "--user": user}, keep=keep)
    door = find_door(state, config)
    match action:
        case Action.LIST:
            list_keys(door, name, as_json=as_json)
        case Action.ADD:
            assert name is not None
            assert key is not None
            add(door, name, key, listen or [], origins, expires, user, as_json=as_json)
        case Action.DISABLE | Action.ENABLE:
            assert name is not None
            change(door, name, disable=action is Action.DISABLE, as_json=as_json)
        case Action.REPLACE:
            assert name is not None
            assert key is not None
            replace(door, name, key, as_json=as_json)
        case Action.REMOVE:
            assert name is not None
            remove(door, name, keep=keep, as_json=as_json)


def _check(action: Action, name: str | None, key: str | None, of_add: dict[str, object], *, keep: bool) -> None:
    """Raise InvalidInput for arguments that the action lacks, or has no use for."""
    if name is None and action is not Action.LIST:
        raise InvalidInput(f"`ferry keys {action}` needs a NAME: `ferry keys` lists them")
    takes_key = action in (Action.ADD, Action.REPLACE)
    if takes_key and key is None:
        raise InvalidInput(
            f"`ferry keys {action} NAME` needs a KEY: a .pub file, - for standard input, or the key itself"
        )
    if key is not None and not takes_key:
        raise InvalidInput(f"`ferry keys {action}` takes no KEY: leave it out")
    given = [option for option, value in of_add.items() if value]
    if given and action is not Action.ADD:
        raise InvalidInput(f"{given[0]} is for `ferry keys add`: leave it out")
    if keep and action is not Action.REMOVE:
        raise InvalidInput("--keep is for `ferry keys remove`: leave it out")
