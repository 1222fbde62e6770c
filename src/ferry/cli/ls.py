"""`ferry ls`: open tunnels, connections or reserved names."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from ferry.amounts import size
from ferry.clock import SystemClock
from ferry.errors import InvalidInput

from .client import find_gateway, known_fields
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import CA_MARK, age, print_json, print_table, quiet_pipe, short_identity
from .table import Column

Row = list[object]
TUNNELS: Final = (
    Column("TUNNEL", whole=True),
    Column("IDENTITY", least=12, most=18, keeps=CA_MARK),
    Column("OPEN"),
    Column("VISITS", right=True),
    Column("IN", right=True),
    Column("OUT", right=True),
    Column("CONNECTION", optional=True),
    Column("FROM", optional=True),
    Column("ID", optional=True),
)
CONNECTIONS: Final = (
    Column("CONNECTION"),
    Column("IDENTITY", least=12, most=18, keeps=CA_MARK),
    Column("FROM", optional=True),
    Column("OPEN"),
    Column("TUNNELS", whole=True),
    Column("CLIENT", optional=True),
    Column("IN", right=True, optional=True),
    Column("OUT", right=True, optional=True),
)
NAMES: Final = (
    Column("NAME", whole=True),
    Column("KIND", optional=True),
    Column("OWNER", least=12, most=18, keeps=CA_MARK),
    Column("LAST USED", optional=True),
    Column("LIVE"),
    Column("GIVEN", optional=True),
)


def ls(
    connections: Annotated[bool, typer.Option("--connections", help="List SSH connections.")] = False,
    names: Annotated[bool, typer.Option("--names", help="List reserved names, ports and aliases.")] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """List open tunnels."""
    if connections and names:
        raise InvalidInput("--connections and --names are two lists: ask for one of them")
    what = "connections" if connections else "names" if names else "tunnels"
    found = find_gateway(state, config).get(what)
    with quiet_pipe():
        if as_json:
            print_json(found)
        elif not found:
            typer.echo({"tunnels": "no tunnels", "connections": "nobody is connected", "names": "no names"}[what])
        else:
            with known_fields():
                _table(what, found)


def _table(what: str, found: list[dict[str, Any]]) -> None:
    now = SystemClock().now()
    match what:
        case "connections":
            print_table(CONNECTIONS, [_connection(item, now) for item in found])
        case "names":
            print_table(NAMES, [_name(item, now) for item in found])
        case _:
            print_table(TUNNELS, [_tunnel(item, now) for item in found])


def _tunnel(t: dict[str, Any], now: float) -> Row:
    instead = f" ({t['instead']})" if t.get("instead") else ""
    where = (t["url"] or t["address"]) + _silent(t) + instead
    counts = [t["visits"], size(t["up"]), size(t["down"])]
    return [where, short_identity(t["identity"]), age(t["since"], now), *counts, t["connection"], t["peer"], t["id"]]


def _connection(c: dict[str, Any], now: float) -> Row:
    tunnels = ", ".join(c["tunnels"]) or "-"
    head = [c["id"], short_identity(c["identity"]), c["peer"], age(c["since"], now) + _silent(c)]
    return [*head, tunnels, c["client_version"], size(c["up"]), size(c["down"])]


def _silent(item: dict[str, Any]) -> str:
    """Beside the address of a client that leaves keepalives unanswered."""
    return f" silent {item['silent_seconds']:.0f}s" if item["silent_seconds"] else ""


def _name(n: dict[str, Any], now: float) -> Row:
    given = "by Ferry" if n["derived"] else "asked for"
    used = f"{age(n['last_used'], now)} ago" if n["last_used"] else "never"
    used += "" if n["used"] or n["live"] or n["label"] is not None else ", unused"
    return [n["address"], n["kind"], short_identity(n["owner_name"]), used, "yes" if n["live"] else "-", given]
