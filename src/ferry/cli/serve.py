"""`ferry serve`: run the gateway."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from .options import (
    ConfigFile,
    Domain,
    HttpListen,
    HttpsListen,
    JsonOption,
    LogFormat,
    Output,
    OutputOption,
    SshListen,
    State,
    source,
)
from .output import discard, print_note


def serve(
    *,
    config: ConfigFile = None,
    domain: Domain = None,
    state: State = None,
    ssh_listen: SshListen = None,
    http_listen: HttpListen = None,
    https_listen: HttpsListen = None,
    log_format: LogFormat = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C. SIGHUP reads the configuration again.

    With --json the log is JSON, as with --log-format json, and the first lines for people are left out. Exit codes: 0
    after a drain, 2 when the configuration is wrong, 3 when the gateway cannot start.
    """
    configuration = source(
        config,
        domain=domain,
        state=state,
        ssh_listen=ssh_listen,
        http_listen=http_listen,
        https_listen=https_listen,
        log_format="json" if as_json else log_format,
    )
    loaded = configuration.load()

    from ferry.config.rules import surprises
    from ferry.gateway.serve import run

    for remark in surprises(loaded):
        print_note(remark.text, as_json=as_json)
    raise typer.Exit(run(loaded, reload=configuration.load, welcome=None if as_json else _print))


def _print(lines: Sequence[str]) -> None:
    """Print the first lines. A gateway serves also where nobody can read them: the log says that it has started."""
    try:
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stdout.flush()
    except OSError:
        discard(sys.stdout)
