"""`ferry ca`: how to trust the certificates that this gateway's own CA signs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ferry.errors import FerryError

from .options import ConfigFile

HOW = """\
This gateway signs the certificates of its names itself, with a CA that is good for its own domain alone:

  {path}

Trust it once, on each machine that visits:

  curl, once      curl --cacert {path} https://NAME.{domain}:PORT/
  Debian, Ubuntu  sudo cp {path} /usr/local/share/ca-certificates/ferry.crt && sudo update-ca-certificates
  Fedora, RHEL    sudo cp {path} /etc/pki/ca-trust/source/anchors/ferry.pem && sudo update-ca-trust
  macOS           sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain {path}
  Windows         certutil -addstore -f ROOT ferry.crt          (as Administrator)
  Chromium        certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n ferry -i {path}     (package libnss3-tools)
  Firefox         Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import

From another machine: `ssh THIS-HOST ferry ca --export > ferry.crt`.
With a real domain, put certificates that everybody trusts in a folder and write `certificates` in `[https]`.
"""


def ca(
    config: ConfigFile = None,
    state: Annotated[Path | None, typer.Option(help="The gateway's state folder.")] = None,
    export: Annotated[bool, typer.Option("--export", help="Print the CA's certificate (PEM) alone.")] = False,
) -> None:
    """Print how to trust the gateway's own CA, which signs where no certificates are configured."""
    path = find_ca(state, config)
    if export:
        typer.echo(path.read_text("ascii"), nl=False)
        return
    typer.echo(HOW.format(path=path, domain=domain_of(config)), nl=False)


def find_ca(state: Path | None, config: Path | None) -> Path:
    """The CA's certificate in the first state folder that has one. Raises FerryError listing where it looked."""
    from ferry.edge.local_ca import ca_path

    from .locate import places

    looked = places(state, os.environ, config=config)
    for place in looked:
        path = ca_path(place.state)
        if os.access(path, os.R_OK):
            return path
    raise FerryError(
        "no local CA found. Looked in\n"
        + "\n".join(f"  {place.state} ({place.because})" for place in looked)
        + "\nIt is made when `ferry serve` first starts without certificates; or name its folder: `--state FOLDER`"
    )


def domain_of(config: Path | None) -> str:
    """For the example; the file's domain where one is named."""
    if config is None:
        return "localhost"
    from ferry.configfile import load

    return load(config, os.environ, {}).domain
