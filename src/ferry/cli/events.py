"""`ferry events`: shows the last events and follows new ones."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Final

import typer

from ferry import limits
from ferry.observe.texts import quoted

from .client import find_gateway
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import quiet_pipe, safe

HEAD: Final = ("seq", "time", "level", "event")
INTERRUPTED: Final = 130  # as a shell reports SIGINT


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow new events until Ctrl-C.")] = False,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=2 * limits.EVENT_RING, help="Past events to begin with.")
    ] = 50,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show the last events, one a line, oldest first. As JSON, each line is one object."""
    as_json = as_json or output is Output.JSON
    gateway = find_gateway(state, config)
    lines = gateway.lines("events", endless=follow, follow="true" if follow else None, last=last)
    try:
        with quiet_pipe():
            for event in lines:
                sys.stdout.write((json.dumps(event) if as_json else describe(event)) + "\n")
                if follow:
                    sys.stdout.flush()  # so that a pipe's reader sees each event at once
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if follow:
        sys.stderr.write("ferry: the gateway has stopped\n")


def describe(event: dict[str, Any]) -> str:
    """One event for people: `time event key=value …`, as in the log."""
    fields = [
        f"{safe(key)}={quoted(safe(value))}"
        for key, value in event.items()
        if key not in HEAD and value not in (None, "")
    ]
    mark = "" if event["level"] in ("debug", "info") else f" [{safe(event['level'])}]"
    return " ".join([f"{safe(event['time'])}{mark} {safe(event['event']):<18}", *fields]).rstrip()
