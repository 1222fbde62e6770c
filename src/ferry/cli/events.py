"""`ferry events`: shows the last events and follows new ones."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Final

import typer

from ferry import limits

from .client import find_gateway
from .event_lines import describe, for_terminal
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import print_error, quiet_pipe
from .wrapping import columns

INTERRUPTED: Final = 130  # as a shell reports SIGINT


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow new events until Ctrl-C.")] = False,
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, max=2 * limits.EVENT_RING, help="Past events to begin with.")
    ] = 50,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Show the last events, one a line, oldest first. As JSON, each line is one object."""
    gateway = find_gateway(state, config)
    lines = gateway.lines("events", endless=follow, follow="true" if follow else None, last=last)
    try:
        with quiet_pipe():
            for event in lines:
                if as_json:
                    shown = [json.dumps(event)]
                elif sys.stdout.isatty():
                    shown = list(for_terminal(event, columns(sys.stdout)))
                else:
                    shown = [describe(event)]
                sys.stdout.write("".join(f"{line}\n" for line in shown))
                if follow:
                    sys.stdout.flush()  # so that a pipe's reader sees each event at once
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if follow:
        print_error("the gateway has stopped", as_json=as_json)
