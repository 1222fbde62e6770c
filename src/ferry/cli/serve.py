"""`ferry serve`: run the gateway."""

from __future__ import annotations

import typer

from .options import ConfigFile, Domain, HttpListen, HttpsListen, LogFormat, SshListen, State, source


def serve(
    *,
    config: ConfigFile = None,
    domain: Domain = None,
    state: State = None,
    ssh_listen: SshListen = None,
    http_listen: HttpListen = None,
    https_listen: HttpsListen = None,
    log_format: LogFormat = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C. SIGHUP reads the configuration again.

    Exit codes: 0 after a drain, 2 when the configuration is wrong, 3 when the gateway cannot start.
    """
    configuration = source(
        config,
        domain=domain,
        state=state,
        ssh_listen=ssh_listen,
        http_listen=http_listen,
        https_listen=https_listen,
        log_format=log_format,
    )
    loaded = configuration.load()

    from ferry.config.rules import surprises
    from ferry.gateway.serve import run

    for remark in surprises(loaded):
        typer.echo(f"ferry: note: {remark.text}", err=True)
    raise typer.Exit(run(loaded, reload=configuration.load))
