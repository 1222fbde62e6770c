"""`ferry install-service`: a hardened systemd unit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferry.errors import FerryError, InvalidInput
from ferry.regular_files import NotAFile, write_text

from .locate import SYSTEM_CONFIG
from .options import JsonOption, Output, OutputOption
from .output import print_json

if TYPE_CHECKING:
    from ferry.setup.unit import Service


def install_service(
    config: Annotated[
        Path, typer.Option(help="The configuration file of the service.", readable=False)
    ] = SYSTEM_CONFIG,
    user: Annotated[str, typer.Option(help="The user it runs as; made when it does not exist.")] = "ferry",
    print_only: Annotated[bool, typer.Option("--print", help="Print the unit, change nothing.")] = False,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Write a hardened systemd unit for `ferry serve`, after checking that its user can read what it needs."""
    from ferry.setup.unit import UNIT_PATH, obstacles, unit_text

    if not config.exists():
        raise InvalidInput(f"{config} does not exist: write it with `ferry init`, or name another with --config")
    service = describe(config.absolute(), user)
    found = obstacles(service)
    text = unit_text(service)
    if print_only and as_json:
        print_json({"unit": str(UNIT_PATH), "text": text, "obstacles": found})
    elif print_only:
        typer.echo(text, nl=False)
    if found:
        raise FerryError("the service could not run yet:\n" + "\n".join(f"  {line}" for line in found))
    if print_only:
        return
    if os.geteuid() != 0:
        raise FerryError("writing a unit needs root: run this with sudo, or look at it with --print")
    new_user, state = not service.account.exists, service.config.state
    if new_user:
        _run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", user])
    new_state = _make_state(state, user)
    try:
        write_text(UNIT_PATH, text)
    except OSError as error:
        fix = "`systemctl unmask ferry`" if isinstance(error, NotAFile) else "make room"
        raise FerryError(f"{UNIT_PATH} cannot be written ({error.strerror}): {fix}") from None
    UNIT_PATH.chmod(0o644)
    if Path("/run/systemd/system").is_dir():
        _run(["systemctl", "daemon-reload"])
    if as_json:
        made = {"made_user": new_user, "state": str(state), "made_state": new_state, "start": _START}
        print_json({"unit": str(UNIT_PATH), "user": user} | made)
        return
    if new_user:
        typer.echo(f"made the system user {user}")
    if new_state:
        typer.echo(f"made {state}")
    typer.echo(f"wrote {UNIT_PATH}\nStart it now and at every boot: {_START}\nLook at it: systemctl status ferry")


_START: Final = "systemctl enable --now ferry"


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


def _make_state(state: Path, user: str) -> bool:
    """Make the state folder, if it is missing. It must exist before the unit's `ReadWritePaths` can open it."""
    from ferry.ownership import ROOT, user_name

    if state.is_symlink() and (maker := state.lstat().st_uid) != ROOT:
        raise FerryError(
            f"{state} is a symbolic link that {user_name(maker)} has made: delete it, or write another state"
        )
    missing = not state.exists()
    if missing:
        state.mkdir(parents=True)
    state.chmod(0o700)
    shutil.chown(state, user, user)
    return missing


def _run(command: list[str]) -> None:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise FerryError(f"{' '.join(command)}: {result.stderr.strip() or f'exit code {result.returncode}'}")
