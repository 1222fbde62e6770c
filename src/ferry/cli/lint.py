"""`ferry lint sshd`: the traps of an OpenSSH server that keeps reverse tunnels, each with its fix."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ferry.amounts import number
from ferry.errors import InvalidInput

from .options import JsonOption, Output, OutputOption
from .output import folded, paint, print_json, quiet_pipe, safe

if TYPE_CHECKING:
    from ferry.lint.findings import Finding
    from ferry.lint.views import KeyFile
    from ferry.protocol.sshd_config import Parsed, Version

EXIT_TO_FIX: Final = 1
_FILE_NAME: Final = re.compile(r".*[/\\].*|.*\.(?:conf|txt|out)|sshd_config|-")


class Subject(enum.StrEnum):
    """What can be looked at."""

    SSHD = "sshd"


@dataclass(slots=True)
class Looked:
    """What was looked at."""

    parsed: Parsed
    keys: list[KeyFile] = field(default_factory=list)
    version: Version | None = None
    version_of: str = ""
    ran: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    keys_alone: bool = False
    """Whether the settings of sshd are not known: `parsed` has no lines of anybody."""


def lint(
    subject: Annotated[Subject, typer.Argument(help="What to look at.", metavar="sshd")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|HOST",
            help="An sshd_config, the output of `sshd -T` (- reads it from standard input), an authorized_keys file alone, "
            "or a host, whose sshd is asked with `ssh HOST sudo -n sshd -T`.",
        ),
    ],
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys",
            metavar="<path>",
            help="An authorized_keys file, beside those that the configuration names. Repeatable.",
            readable=False,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="Look at what counts for this account, and at its keys.")
    ] = None,
    openssh: Annotated[
        str | None,
        typer.Option(
            "--openssh", help="The version of sshd, such as 9.2. Without it that of the host, or of this one."
        ),
    ] = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Name the traps in the configuration and key files of an OpenSSH server that keeps `ssh -R` tunnels, each with its
    line, what happens, and what to write. It changes nothing.

    Exit codes: 0 nothing to mend, 1 something to mend, 2 what was named cannot be read.
    """
    from datetime import UTC, datetime

    from ferry.clock import SystemClock
    from ferry.lint.config_rules import Server
    from ferry.lint.rules import Severity
    from ferry.lint.run import lint as all_findings
    from ferry.lint.run import worst
    from ferry.this_host import THIS_HOST

    assert subject is Subject.SSHD
    looked = _look(target, keys or [], user, _version(openssh), as_json=as_json)
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    findings = all_findings(looked.parsed, looked.keys, user=user, server=Server(THIS_HOST, looked.version), now=now)
    if looked.keys_alone:
        findings = [each for each in findings if each.place.file != looked.parsed.name]
    with quiet_pipe():
        if as_json:
            print_json(_document(target, looked, findings))
        else:
            _print(looked, findings)
    if worst(findings) is Severity.FIX:
        raise typer.Exit(EXIT_TO_FIX)


def _version(text: str | None) -> Version | None:
    from ferry.protocol.sshd_config import version_in

    if text is None:
        return None
    version = version_in(text)
    if version is None:
        raise InvalidInput(f"'{safe(text)}' is not a version of OpenSSH: write one such as 9.2 (`ssh -V` prints it)")
    return version


def _look(target: str, named: Sequence[Path], user: str | None, version: Version | None, *, as_json: bool) -> Looked:
    from ferry.lint.views import views
    from ferry.setup.sshd_files import local_version, read_keys, read_subject

    if _FILE_NAME.fullmatch(target) or Path(target).exists():
        read = read_subject(target, user)
        looked = Looked(read.parsed, left_out=read.left_out, keys_alone=read.keys is not None)
        if read.keys is not None:
            looked.keys = [read.keys, *read_keys([], named, user, looked.left_out)]
            looked.left_out.append("sshd's settings: `ferry lint sshd SSHD_CONFIG --keys FILE` looks at both")
            return looked
        looked.keys = read_keys(views(read.parsed, user), named, user, looked.left_out)
        if version is None:
            looked.version, looked.version_of = local_version(), "this host's; --openssh names another"
    else:
        looked = _ask(target, named, user, as_json=as_json)
    if version is not None:
        looked.version, looked.version_of = version, "as you say"
    if looked.parsed.is_effective and user is None:
        looked.left_out.append("Match blocks: sshd -T prints what counts for everybody (-C user=NAME: for one account)")
    if not looked.keys:
        looked.left_out.append("keys: no file that is named was found here (--user NAME, --keys FILE)")
    if looked.version is None:
        looked.left_out.append("what depends on sshd's version: --openssh 9.2 names it")
    return looked


def _ask(name: str, named: Sequence[Path], user: str | None, *, as_json: bool) -> Looked:
    """Ask a host."""
    from ferry.lint.views import views
    from ferry.setup.sshd_files import read_keys
    from ferry.setup.sshd_host import Host

    host = Host(name, lambda command: _print_running(command, as_json=as_json))
    looked = Looked(host.settings(user), ran=host.ran)
    looked.keys = read_keys([], named, user, looked.left_out)
    looked.keys += host.keys(views(looked.parsed, user)[0], user, looked.left_out)
    looked.version, looked.version_of = host.version, f"{name}'s"
    return looked


def _print_running(command: str, *, as_json: bool) -> None:
    """A command that begins on another host, on stderr."""
    typer.echo(json.dumps({"running": command}) if as_json else f"running {safe(command)}", err=True)


def _print(looked: Looked, findings: Sequence[Finding]) -> None:
    from ferry.lint.rules import Severity

    for each in findings:
        style = ("red", "bold") if each.severity is Severity.FIX else ("yellow",)
        remarks = [safe(each.scope)] if each.scope else []
        if each.place.line is None:
            remarks.append("not set there")
        scope = f" ({', '.join(remarks)})" if remarks else ""
        typer.echo(f"{paint(safe(each.place), 'bold')}: {paint(each.severity.value, *style)} {each.rule}{scope}")
        also = f" Likewise: line {', '.join(map(str, each.also))}." if each.also else ""
        typer.echo(folded(each.what + also, "    "))
        label = "    fix: "
        for number_of, line in enumerate(each.fix.split("\n")):
            typer.echo((label if number_of == 0 else " " * len(label)) + safe(line))
        typer.echo()
    fixes = sum(each.severity is Severity.FIX for each in findings)
    notes = f", {len(findings) - fixes} to know" if len(findings) > fixes else ""
    typer.echo((f"{fixes} to mend" if fixes else "nothing to mend") + notes)
    typer.echo(folded(f"looked at: {'; '.join(_looked_at(looked))}", later="  "))
    for sentence in looked.left_out:
        typer.echo(folded(f"not looked at: {sentence}", later="  "))


def _looked_at(looked: Looked) -> list[str]:
    files = looked.parsed.files
    more = f" with {number(len(files) - 1, 'included file')}" if len(files) > 1 else ""
    shown = [] if looked.keys_alone else [f"{looked.parsed.name}{more}"]
    if looked.keys:
        count = sum(file.count for file in looked.keys)
        shown.append(f"{number(count, 'key')} in {', '.join(file.name for file in looked.keys)}")
    if looked.version:
        shown.append(f"OpenSSH {_shown(looked.version)} ({looked.version_of})")
    return shown


def _shown(version: Version) -> str:
    return ".".join(map(str, version))


def _document(target: str, looked: Looked, findings: Sequence[Finding]) -> dict[str, object]:
    return {
        "target": target,
        "ran": looked.ran,
        "files": [] if looked.keys_alone else looked.parsed.files,
        "key_files": [file.name for file in looked.keys],
        "openssh": _shown(looked.version) if looked.version else None,
        "left_out": looked.left_out,
        "findings": [
            {
                "severity": each.severity.value,
                "rule": each.rule,
                "file": each.place.file,
                "line": each.place.line,
                "more_lines": list(each.also),
                "scope": each.scope or None,
                "values": list(each.values),
                "what": each.what,
                "fix": each.fix,
            }
            for each in findings
        ],
    }
