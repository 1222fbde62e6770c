"""`ferry init`: a few questions (or flags), then a configuration file in which everything is explained."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

import typer

from ferry.errors import InvalidInput
from ferry.hostnames import Domain
from ferry.setup.answers import SSHD_ELSEWHERE, Answers, SshChoice, Who, sshd_steps

from .options import JsonOption, Output, OutputOption
from .output import print_json
from .wrapping import PIPE_COLUMNS, wrapped

ETC = Path("/etc/ferry")
T = TypeVar("T")


def init(
    *,
    domain: Annotated[str | None, typer.Option(help="Tunnels get names below this domain.")] = None,
    access: Annotated[Who | None, typer.Option(help="Who may connect.")] = None,
    keys: Annotated[
        Path | None, typer.Option(help="File or folder of public keys, with --access keys.", readable=False)
    ] = None,
    ssh: Annotated[SshChoice | None, typer.Option(help="The port people type for SSH.")] = None,
    abuse_contact: Annotated[
        str | None, typer.Option(help="E-mail address or URL for reports of abuse, shown at the gateway's own name.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder for all data that survives a restart.", readable=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The file to write. As root /etc/ferry/ferry.toml.", readable=False)
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: settings without a flag get their defaults.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file; the old one is kept as FILE.old.")] = False,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Ask for the domain and who may connect, and write a configuration file in which everything is explained."""
    from ferry.setup.paths import is_there
    from ferry.setup.ports import sshd_on

    root = os.geteuid() == 0
    path = (out or (ETC / "ferry.toml" if root else Path("ferry.toml"))).absolute()
    if is_there(path) and not force:
        raise InvalidInput(
            f"{path} exists: edit it, or replace it with --force, which keeps the old one as {path.name}.old"
        )
    if not yes and not sys.stdin.isatty() and (domain is None or access is None):
        raise InvalidInput("standard input is not a terminal: give --domain and --access, or --yes for the defaults")
    operator = _Operator(asked=not yes and sys.stdin.isatty(), on_stderr=as_json)
    banner = sshd_on(22)
    name = _domain(domain, operator)
    who = access or (Who(operator.choose("Who may connect?", _WHO, "keys")) if operator.asked else _default_who(name))
    answers = Answers(
        domain=name,
        who=who,
        keys=_keys(keys, path, who, operator),
        ssh=ssh or _ssh_choice(name, banner, operator),
        abuse_contact=_contact(abuse_contact, name, operator),
        state=(state or (Path("/var/lib/ferry") if root else path.parent / "ferry-data")).absolute(),
        public_addresses=_public_addresses(),
        sshd=banner is not None,
    )
    written = _write(path, answers)
    steps = _next_steps(path, answers, banner)
    if as_json:
        print_json(_document(path, answers, written, steps))
        return
    for folder in written.folders:
        typer.echo(f"made the folder {folder}")
    if written.kept:
        typer.echo(f"kept the earlier file as {written.kept}")
    typer.echo(f"wrote {path}\n\n{steps}")


@dataclass(frozen=True, slots=True)
class _Operator:
    """The person who is asked."""

    asked: bool
    """Whether to ask at all."""
    on_stderr: bool
    """Where the questions go, so that stdout has the JSON document alone."""

    def told(self, text: str) -> None:
        typer.echo(text, err=self.on_stderr)

    def answer(self, question: str, parse: Callable[[str], T], default: str) -> T:
        """The first answer that is valid. `parse` raises InvalidInput or ValueError for others."""
        while True:
            text = typer.prompt(question, default=default, show_default=bool(default), err=self.on_stderr)
            try:
                return parse(str(text))
            except (InvalidInput, ValueError) as error:
                self.told(str(error))

    def choose(self, question: str, choices: Mapping[str, str], default: str) -> str:
        """One of `choices`."""

        def parse(text: str) -> str:
            if text.strip() not in choices:
                raise InvalidInput(f"Write one of {', '.join(choices)}.")
            return text.strip()

        self.told(question)
        for word, meaning in choices.items():
            self.told(f"  {word:<8}{meaning}")
        return self.answer("Your choice", parse, default)


@dataclass(frozen=True, slots=True)
class _Written:
    """What was made beside the file."""

    folders: tuple[Path, ...]
    kept: Path | None
    """The earlier file, under its new name."""


def _document(path: Path, answers: Answers, written: _Written, steps: str) -> dict[str, object]:
    return {
        "file": str(path),
        "kept": str(written.kept) if written.kept else None,
        "folders": [str(folder) for folder in written.folders],
        "domain": answers.domain,
        "access": answers.who.value,
        "keys": str(answers.keys) if answers.keys else None,
        "ssh_port": answers.ssh_port,
        "abuse_contact": answers.abuse_contact,
        "state": str(answers.state),
        "next": steps,
    }


_WHO: Final[Mapping[str, str]] = MappingProxyType(
    {
        "keys": "people and machines whose public keys you put in a folder",
        "anyone": "everybody who reaches the port: they get tunnels on your domain",
    }
)


def _domain(given: str | None, operator: _Operator) -> str:
    from ferry.names import parse_domain

    if given is not None or not operator.asked:
        return parse_domain(given or "localhost")
    return operator.answer("Domain, names are given below it", parse_domain, "localhost")


def _default_who(domain: str) -> Who:
    return Who.ANYONE if domain == "localhost" else Who.KEYS


def _keys(given: Path | None, path: Path, who: Who, operator: _Operator) -> Path | None:
    if who is Who.ANYONE:
        if given is not None:
            raise InvalidInput("--keys goes with --access keys")
        return None
    default = path.parent / "keys"
    if given is None and operator.asked:
        given = operator.answer("File or folder of their public keys", Path, str(default))
    return (given or default).expanduser().absolute()


def _ssh_choice(domain: str, banner: str | None, operator: _Operator) -> SshChoice:
    default = SshChoice.HTTPS_PORT if banner else SshChoice.STANDARD
    if not operator.asked or domain == "localhost":
        return default
    if banner:
        operator.told(f"Port 22 of this host is held by an SSH server ({banner}).")
    elsewhere = f"after sshd has moved to {SSHD_ELSEWHERE}; the steps are printed" if banner else "which is free"
    choices = {
        "443": f"the HTTPS port: ssh -p 443 {domain}; works from networks that allow only 443",
        "2222": f"ssh -p 2222 {domain}; 443 works too",
        "22": f"ssh {domain}, {elsewhere}; 443 works too",
    }
    return SshChoice(operator.choose("Which port should people type for SSH?", choices, default))


def _contact(given: str | None, domain: str, operator: _Operator) -> str | None:
    """Strangers who are harmed by a tunnel look for it at the gateway's own name. Nobody visits a local gateway."""
    from ferry.config.values import parse_contact

    if given is not None:
        try:
            return parse_contact(given)
        except ValueError as error:
            raise InvalidInput(f"--abuse-contact: {error}") from None
    if not operator.asked or domain == "localhost":
        return None
    return operator.answer("E-mail address or URL for reports of abuse (Enter for none)", parse_contact, "")


def _public_addresses() -> tuple[str, ...]:
    from ferry.setup.ports import has_ipv6

    return ("0.0.0.0", "::") if has_ipv6() else ("0.0.0.0",)


def _write(path: Path, answers: Answers) -> _Written:
    """Write the file and make the folder for keys. All users may read them: they hold no secret, and the service user
    needs them."""
    from ferry.config.file import load
    from ferry.regular_files import write_text
    from ferry.setup.configtext import config_text
    from ferry.setup.paths import is_there

    text = config_text(answers.written(), answers.notes(), answers.examples())
    folders = [path.parent]
    if answers.keys:
        folders.append(answers.keys)
    made = [folder for folder in folders if not is_there(folder)]
    for folder in made:
        _attempt(path, functools.partial(_make_folder, folder))
    new = path.with_name(f".{path.name}.new")
    _attempt(path, lambda: write_text(new, text))
    kept: Path | None = None
    try:
        load(new, {}, {})
        new.chmod(0o644)
        if path.is_file():
            kept = old = path.with_name(f"{path.name}.old")
            _attempt(old, lambda: path.replace(old))
        _attempt(path, lambda: new.replace(path))
    except InvalidInput:
        new.unlink()
        raise
    return _Written(tuple(made), kept)


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


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
    moving = bool(banner) and answers.ssh is SshChoice.STANDARD and not answers.local
    lines = [sshd_steps(banner)] if moving else []
    lines.append("Next:")
    if not answers.local:
        host = this_host()
        both = "\n".join(records(name, host) for name in (answers.domain, domain.wildcard))
        lines += ["  make these DNS records", *(f"      {line}" for line in both.splitlines())]
        lines += ["  let these ports through the firewall", f"      {_ports(answers)}"]
    lines += [f"  visitors of https://{domain.host('NAME')} will see", f"    {OWN_CA}. To change that"]
    lines += [f"      {line}" for line in wrapped(how_to_trust(domain), PIPE_COLUMNS - 6)]
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
