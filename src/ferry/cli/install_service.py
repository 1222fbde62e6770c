"""`ferry install-service`: a hardened systemd unit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ferry.errors import FerryError, InvalidInput

from .locate import SYSTEM_CONFIG

if TYPE_CHECKING:
    from ferry.setup.unit import Service


def install_service(
    config: Annotated[Path, typer.Option(help="The configuration file of the service.")] = SYSTEM_CONFIG,
    user: Annotated[str, typer.Option(help="The user it runs as; made when it does not exist.")] = "ferry",
    print_only: Annotated[bool, typer.Option("--print", help="Print the unit, change nothing.")] = False,
) -> None:
    """Write a hardened systemd unit for `ferry serve`, after checking that its user can read what it needs."""
    from ferry.setup.unit import UNIT_PATH, obstacles, unit_text

    if not config.exists():
        raise InvalidInput(f"{config} does not exist: write it with `ferry init`, or name another with --config")
    service = describe(config.absolute(), user)
    found = obstacles(service)
    text = unit_text(service)
    if print_only:
        typer.echo(text, nl=False)
    if found:
        raise FerryError("the service could not run yet:\n" + "\n".join(f"  {line}" for line in found))
    if print_only:
        return
    if os.geteuid() != 0:
        raise FerryError("writing a unit needs root: run this with sudo, or look at it with --print")
    if not service.account.exists:
        _run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", user])
        typer.echo(f"made the system user {user}")
    _make_state(service.config.state, user)
    UNIT_PATH.write_text(text, "utf-8")
    UNIT_PATH.chmod(0o644)
    typer.echo(f"wrote {UNIT_PATH}")
    if Path("/run/systemd/system").is_dir():
        _run(["systemctl", "daemon-reload"])
    typer.echo("Start it now and at every boot: systemctl enable --now ferry\nLook at it: systemctl status ferry")


def describe(config: Path, user: str) -> Service:
    """The service that the unit runs: this very program with the file alone. It does not inherit this shell's variables."""
    import ferry
    from ferry.config.file import load
    from ferry.setup.paths import account
    from ferry.setup.unit import Service

    package = Path(ferry.__file__)
    return Service(
        command=Path(sys.prefix) / "bin" / "ferry",
        config_file=config,
        config=load(config, {}, {}),
        account=account(user),
        code=(Path(sys.executable), package),
    )


def _make_state(state: Path, user: str) -> None:
    """Make the state folder. It must exist before the unit's `ReadWritePaths` can open it."""
    if not state.exists():
        state.mkdir(parents=True)
        typer.echo(f"made {state}")
    state.chmod(0o700)
    shutil.chown(state, user, user)


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise FerryError(f"{' '.join(command)}: {result.stderr.strip() or f'exit code {result.returncode}'}")
