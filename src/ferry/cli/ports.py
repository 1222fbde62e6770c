"""`ferry ports`: the port table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import typer

from ferry.clock import SystemClock
from ferry.names import certified

from .client import known_fields
from .keys_door import find_door
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import CA_MARK, age, print_json, print_table, quiet_pipe, short_identity
from .table import Column

_SOON_SECONDS: Final = 2 * 86_400.0
PORTS: Final = (
    Column("HOST", most=40, keeps=CA_MARK),
    Column("PORT", right=True),
    Column("LABEL", least=9),
    Column("HOLDER", optional=True, least=8, most=18, keeps=CA_MARK),
    Column("STATE"),
    Column("LISTENS ON", optional=True),
    Column("SINCE", optional=True),
    Column("KEPT", optional=True),
    Column("KEY FILE", optional=True, least=16, end=True),
)


def ports(
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Show the port table: which TCP port is whose, for what, and whether it is up.

    HOST is what a session of the holder has sent as SELF_REMOTE_HOST, else the name of its key or the key id and
    CA of its certificate, else the comment of its key, in brackets, which proves nothing. A port that a line of a
    key file names (`permitlisten=`) is its holder's before the first connection; STATE says so if that line is refused,
    disabled, or allows no forwards, or if no rule of the policy file lets the holder publish it. LISTENS ON has the addresses of a port that is up. The ranges of each label are those of
    `tcp.purposes`. Of a gateway that has stopped the table is read from its state folder: then no port is up.
    """
    found = find_door(state, config, reads=True).ports()
    with quiet_pipe():
        if as_json:
            print_json(found)
        elif not found:
            typer.echo("no port is up, reserved, or named by a key")
        else:
            now = SystemClock().now()
            with known_fields():
                print_table(PORTS, [_row(one, now) for one in found])


def _until(moment: str, now: float) -> str:
    """A day; in the next two days a time too."""
    at = datetime.fromisoformat(moment).astimezone(UTC)
    soon = 0 < at.timestamp() - now < _SOON_SECONDS
    return f"until {at:%Y-%m-%d %H:%M} UTC" if soon else f"until {at:%Y-%m-%d}"


def _row(one: dict[str, Any], now: float) -> list[object]:
    since = f"{age(one['since'], now)} ago" if one["since"] else "-"
    kept = "for good" if one["kept_for_good"] else _until(one["kept_until"], now) if one["kept_until"] else "-"
    holder = short_identity(one["holder"])
    by_certificate = certified(one["holder"]) is not None
    host = one["host"] or (holder if by_certificate else f"({one['comment']})" if one.get("comment") else "-")
    head = [host, one["port"], one["label"] or "-", holder]
    return [*head, one["state"], " ".join(one.get("bound", ())) or "-", since, kept, "; ".join(one["lines"]) or "-"]
