"""`ferry init`: a few questions (or flags), then a configuration file in which everything is explained."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.setup.answers import SSHD_ELSEWHERE, Answers, SshChoice, Who, sshd_steps

if TYPE_CHECKING:
    from collections.abc import Callable

ETC = Path("/etc/ferry")


def init(
    *,
    domain: Annotated[str | None, typer.Option(help="Tunnels get names below this domain.")] = None,
    access: Annotated[Who | None, typer.Option(help="Who may connect.")] = None,
    keys: Annotated[Path | None, typer.Option(help="File or folder of public keys, with --access keys.")] = None,
    ssh: Annotated[SshChoice | None, typer.Option(help="The port people type for SSH.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for all data that survives a restart.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write. As root /etc/ferry/ferry.toml.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: settings without a flag get their defaults.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file; the old one is kept as FILE.old.")] = False,
) -> None:
    """Ask for the domain and who may connect, and write a configuration file in which everything is explained."""
    from ferry.setup.ports import sshd_on

    root = os.geteuid() == 0
    path = (out or (ETC / "ferry.toml" if root else Path("ferry.toml"))).absolute()
    if path.exists() and not force:
        raise InvalidInput(
            f"{path} exists: edit it, or replace it with --force, which keeps the old one as {path.name}.old"
        )
    if not yes and not sys.stdin.isatty() and (domain is None or access is None):
        raise InvalidInput("standard input is not a terminal: give --domain and --access, or --yes for the defaults")
    ask = not yes and sys.stdin.isatty()
    banner = sshd_on(22)
    name = _domain(domain, ask=ask)
    who = access or (Who(_choose("Who may connect?", _WHO, "keys")) if ask else _default_who(name))
    answers = Answers(
        domain=name,
        who=who,
        keys=_keys(keys, path, who, ask=ask),
        ssh=ssh or _ssh_choice(name, banner, ask=ask),
        state=(state or (Path("/var/lib/ferry") if root else path.parent / "ferry-data")).absolute(),
        public_addresses=_public_addresses(),
        sshd=banner is not None,
    )
    _write(path, answers)
    typer.echo(_next_steps(path, answers, banner))


_WHO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "keys": "people and machines whose public keys you put in a folder",
        "anyone": "everybody who reaches the port: they get tunnels on your domain",
    }
)


def _domain(given: str | None, *, ask: bool) -> str:
    from ferry.names import parse_domain

    if given is not None or not ask:
        return parse_domain(given or "localhost")
    while True:
        try:
            return parse_domain(typer.prompt("Domain, names are given below it", default="localhost"))
        except InvalidInput as error:
            typer.echo(str(error))


def _default_who(domain: str) -> Who:
    return Who.ANYONE if domain == "localhost" else Who.KEYS


def _keys(given: Path | None, path: Path, who: Who, *, ask: bool) -> Path | None:
    if who is Who.ANYONE:
        if given is not None:
            raise InvalidInput("--keys goes with --access keys")
        return None
    default = path.parent / "keys"
    if given is None and ask:
        given = Path(typer.prompt("File or folder of their public keys", default=str(default)))
    return (given or default).expanduser().absolute()


def _ssh_choice(domain: str, banner: str | None, *, ask: bool) -> SshChoice:
    default = SshChoice.HTTPS_PORT if banner else SshChoice.STANDARD
    if not ask or domain == "localhost":
        return default
    if banner:
        typer.echo(f"Port 22 of this host is held by an SSH server ({banner}).")
    elsewhere = f"after sshd has moved to {SSHD_ELSEWHERE}; the steps are printed" if banner else "which is free"
    choices = {
        "443": f"the HTTPS port: ssh -p 443 {domain}; works from networks that allow only 443",
        "2222": f"ssh -p 2222 {domain}; 443 works too",
        "22": f"ssh {domain}, {elsewhere}; 443 works too",
    }
    return SshChoice(_choose("Which port should people type for SSH?", choices, default))


def _choose(question: str, choices: Mapping[str, str], default: str) -> str:
    typer.echo(question)
    for word, meaning in choices.items():
        typer.echo(f"  {word:<8}{meaning}")
    while (answer := str(typer.prompt("Your choice", default=default)).strip()) not in choices:
        typer.echo(f"Write one of {', '.join(choices)}.")
    return answer


def _public_addresses() -> tuple[str, ...]:
    from ferry.setup.ports import has_ipv6

    return ("0.0.0.0", "::") if has_ipv6() else ("0.0.0.0",)


def _write(path: Path, answers: Answers) -> None:
    """Write the file and make the folder for keys. All users may read them: they hold no secret, and the service user
    needs them."""
    from ferry.config.file import load
    from ferry.setup.configtext import config_text

    text = config_text(answers.written(), answers.notes())
    folders = [path.parent]
    if answers.keys:
        folders.append(answers.keys)
    for folder in folders:
        _attempt(path, functools.partial(_make_folder, folder))
    new = path.with_name(f".{path.name}.new")
    _attempt(path, lambda: new.write_text(text, "utf-8"))
    try:
        load(new, {}, {})
        new.chmod(0o644)
        if path.is_file():
            old = path.with_name(f"{path.name}.old")
            _attempt(old, lambda: path.replace(old))
            typer.echo(f"kept the earlier file as {old}")
        _attempt(path, lambda: new.replace(path))
    except InvalidInput:
        new.unlink()
        raise


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        typer.echo(f"made the folder {folder}")


def _attempt(path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise InvalidInput(
            f"cannot write {path}: {error.strerror}: run this with sudo, or name another file with --out"
        ) from None


def _next_steps(path: Path, answers: Answers, banner: str | None) -> str:
    from ferry.setup.dns import records, this_host
    from ferry.setup.https_view import OWN_CA, how_to_trust

    ferry, domain = program(), Domain(answers.domain)
    lines = [f"wrote {path}", ""]
    moving = bool(banner) and answers.ssh is SshChoice.STANDARD and not answers.local
    if moving:
        lines += [sshd_steps(banner)]
    lines.append("Next:")
    if not answers.local:
        host = this_host()
        both = "\n".join(records(name, host) for name in (answers.domain, domain.wildcard))
        lines += ["  make these DNS records", *(f"      {line}" for line in both.splitlines())]
        lines += ["  let these ports through the firewall", f"      {_ports(answers)}"]
    lines += [f"  visitors of https://{domain.host('NAME')} will see", f"    {OWN_CA}. To change that"]
    lines += [f"      {line}" for line in how_to_trust(domain).splitlines()]
    if answers.keys:
        lines += [
            f"  put public keys into {answers.keys}, as in",
            f"      {_key_line(answers, answers.keys, banner, moving=moving)}",
        ]
    lines += ["  check the configuration and this host", f"      {ferry} check-config --config {path}", "  start it"]
    lines += [f"      {ferry} serve --config {path}"]
    if path.is_relative_to(ETC):
        lines += [f"    or as a service: {ferry} install-service && systemctl enable --now ferry"]
    lines += ["  get a URL for a local port", f"      {answers.ssh_command} -R 80:localhost:3000 {answers.domain}"]
    return "\n".join(lines)


def _key_line(answers: Answers, keys: Path, banner: str | None, *, moving: bool) -> str:
    target = keys / "YOUR-NAME.pub" if keys.is_dir() else keys
    if answers.local or not banner:  # no sshd was found that scp could use
        return f"cp id_ed25519.pub {target}"
    scp = f"scp -P {SSHD_ELSEWHERE}" if moving else "scp"
    return f"{scp} ~/.ssh/id_ed25519.pub root@{answers.domain}:{target}     (from a laptop)"


def _ports(answers: Answers) -> str:
    ports = dict.fromkeys(["80/tcp", "443/tcp", f"{answers.ssh_port}/tcp", "30000-39999/tcp"])
    return ", ".join(ports) + " (the last for `ssh -R 30042:...`)"


def program() -> str:
    """The command that runs this program from the working directory."""
    clone = os.environ.get("FERRY_CLONE")
    if clone is None:
        return "ferry"
    return "./ferry" if Path(clone).resolve() == Path.cwd() else f"{clone}/ferry"
