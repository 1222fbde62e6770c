"""`ferry check-config`: checks the configuration and this host without starting the gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import ConfigFile, Domain, HttpListen, HttpsListen, SshListen, State, source

EXIT_TO_FIX = 1


def check_config(
    *,
    config: ConfigFile = None,
    domain: Domain = None,
    state: State = None,
    ssh_listen: SshListen = None,
    http_listen: HttpListen = None,
    https_listen: HttpsListen = None,
    dns: Annotated[bool, typer.Option(help="Resolve the domain and compare it with this host.")] = True,
) -> None:
    """Validate the configuration without starting, and look at DNS, ports and files.

    Exit codes: 0 nothing to fix, 1 something on this host to fix, 2 the configuration is wrong.
    """
    loaded = source(
        config,
        domain=domain,
        state=state,
        ssh_listen=ssh_listen,
        http_listen=http_listen,
        https_listen=https_listen,
    ).load()

    from ferry.clock import random_token
    from ferry.setup.dns import check_domain, this_host
    from ferry.setup.findings import Severity, worst
    from ferry.setup.hostcheck import check_host, effective

    from .locate import answers

    typer.echo(effective(loaded))
    findings = check_host(loaded, running=answers(loaded.state))
    if dns:
        findings += check_domain(loaded.domain, f"ferry-{random_token(4)}", this_host(), port=loaded.http_port)
    for finding in findings:
        typer.echo(str(finding))
    if worst(findings) is Severity.FIX:
        raise typer.Exit(EXIT_TO_FIX)
