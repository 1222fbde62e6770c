"""`ferry check-config`: checks the configuration and this host without starting the gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferry.errors import FerryError

from .options import Domain, HttpListen, HttpsListen, JsonOption, Output, OutputOption, SshListen, State, source
from .output import paint, print_json
from .wrapping import beside, columns

if TYPE_CHECKING:
    from ferry.config.model import Config
    from ferry.setup.findings import Finding
    from ferry.setup.hostcheck import Running

EXIT_TO_FIX = 1
_STYLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"ok": ("green",), "note": ("yellow",), "FIX": ("red", "bold")}
)
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="The configuration file (TOML). Without it, and without --state, that of the gateway that runs, "
        "or of the one that is installed.",
        readable=False,
    ),
]


def check_config(
    *,
    config: ConfigFile = None,
    domain: Domain = None,
    state: State = None,
    ssh_listen: SshListen = None,
    http_listen: HttpListen = None,
    https_listen: HttpsListen = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
    dns: Annotated[bool, typer.Option(help="Resolve the domain and compare it with this host.")] = True,
) -> None:
    """Validate the configuration without starting, and look at DNS, ports and files.

    Exit codes: 0 nothing to fix, 1 something on this host to fix, 2 the configuration is wrong.
    """
    file, folder = _meant(config, state)
    loaded = source(
        file,
        domain=domain,
        state=folder,
        ssh_listen=ssh_listen,
        http_listen=http_listen,
        https_listen=https_listen,
    ).load()

    from ferry.clock import random_token
    from ferry.setup.dns import check_domain, this_host
    from ferry.setup.findings import Severity, worst
    from ferry.setup.hostcheck import check_host, effective

    findings = check_host(loaded, running=_running(loaded.state))
    if dns:
        http, https = loaded.http_port, loaded.https_port
        web = http is not None or https is not None
        findings += check_domain(loaded.domain, f"ferry-{random_token(4)}", this_host(), port=http, web=web)
    if as_json:
        found = [{"severity": each.severity.value, "subject": each.subject, "text": each.text} for each in findings]
        print_json(effective(loaded, file) | {"findings": found})
    else:
        _print(effective(loaded, file), findings, _paths(loaded, file))
    if worst(findings) is Severity.FIX:
        raise typer.Exit(EXIT_TO_FIX)


def _print(summary: Mapping[str, str], findings: Sequence[Finding], whole: Iterable[str]) -> None:
    """`whole`: values at whose spaces no line is broken."""
    width = columns(sys.stdout)
    for name, text in summary.items():
        typer.echo(beside(f"{paint(name.ljust(10), 'dim')} ", 11, text, width, whole=whole))
    typer.echo()
    for finding in findings:
        word = finding.severity.value
        head = f"{paint(word, *_STYLES[word])}{' ' * (5 - len(word))}{finding.subject:<16}"
        typer.echo(beside(head, 21, finding.text, width, whole=whole))


def _paths(config: Config, file: Path | None) -> list[str]:
    found = [config.state, *(path for _, path, _ in config.access.paths.one_by_one())]
    if config.https.certificates:
        found.append(config.https.certificates)
    if file:
        found.append(file)
    return [str(path) for path in found]


def _meant(config: Path | None, state: Path | None) -> tuple[Path | None, Path | None]:
    """The configuration file and the state folder to check: those that were named, else those of the installation."""
    from .locate import find_installation

    if config is not None or state is not None or "FERRY_STATE" in os.environ:
        return config, state
    found = find_installation(os.environ)
    if found is None:
        return None, None
    return (found.config, None) if found.config else (None, found.state)


def _running(state: Path) -> Running:
    """The gateway that runs with this state folder, and the addresses that it holds."""
    from ferry.config.values import parse_listen
    from ferry.setup.hostcheck import Running

    from .client import Gateway
    from .locate import answers, is_closed

    if not answers(state):
        return Running(hidden=is_closed(state))
    try:
        listeners = Gateway(state).get("status")["listeners"]
    except FerryError:  # it is starting or busy: what it holds is not known
        return Running(hidden=True)
    return Running(tuple(parse_listen(text) for addresses in listeners.values() for text in addresses))
