"""The table of a run, as the page docs/reference/clients.md."""

from __future__ import annotations

import os
import platform
import re
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from .stacks import Stack
from .steps import FULL, MIB, REKEY_BYTES, STEPS, Verdict

_NOTE_LENGTH = 300
_HEAD = """\
# Clients that were tried

`make interop` writes this page: SSH clients that nobody here wrote go through the same steps on a gateway of their own.
[How it works](../../interop/README.md). A mark in the table means

| mark | |
|---|---|
| ok | done, and checked from the other side; a figure beside it was measured meanwhile |
| n/a | the client cannot do it, with any server; the reason is below |
| **failed** | it should work, and does not; what happened is below |
"""
_STEPS = f"""\
| step | what is done |
|---|---|
| ed25519, ecdsa, rsa | log in with such a key (ECDSA on P-256, RSA of 3072 bits), and `whoami` names it |
| web | `-R name:80`, and a page comes |
| -R 0 | a port is allocated, the client knows which, and bytes with a half-close come back |
| alias | `-R name:7`, reached with stock `ssh -W` and the same key |
| direct | the client itself opens direct-tcpip to its alias |
| commands | `ls --output json` names the tunnel; an unknown command has an exit status that is not 0 |
| bulk | {FULL.bulk // MIB} MiB down and as much up at the same time, both SHA-256 right |
| at once | {FULL.many} requests, each answered only when all {FULL.many} have reached the local service |
| cancel | cancelled, the visitor gets 503; asked for again, the page comes; twice |
| rekey, client | {FULL.rekeyed // MIB} MiB down and up while the client starts a key exchange after each {REKEY_BYTES // MIB} MiB, both SHA-256 right |
| rekey, gateway | the same, started by the gateway |
| end | the client ends with exit code 0; the gateway keeps no connection and no descriptor of it, and logs no error |
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one stack."""

    stack: Stack
    version: str
    verdicts: dict[str, Verdict]
    not_run: str = ""


def page(rows: list[Row], *, minutes: float) -> str:
    """The whole page."""
    return "\n".join([_HEAD, _table(rows), _notes(rows), "## The steps\n", _STEPS, "## The run\n", _run(minutes)])


def _table(rows: list[Row]) -> str:
    lines = ["| client | in | " + " | ".join(STEPS) + " |", "|---" * (2 + len(STEPS)) + "|"]
    for row in rows:
        if row.not_run:
            lines.append(f"| {row.stack.name} | {row.stack.language} | not run: {row.not_run}" + " |" * len(STEPS))
            continue
        marks = (_mark(row.verdicts[step]) for step in STEPS)
        lines.append(f"| {_version(row)} | {row.stack.language} | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def _version(row: Row) -> str:
    """Its name, and the number in what it says of itself."""
    return " ".join([row.stack.name, *re.findall(r"\d+\.\d[\w.]*", row.version)[-1:]])


def _is_figure(verdict: Verdict) -> bool:
    return verdict.state == "ok" and verdict.note[:1].isdigit()


def _mark(verdict: Verdict) -> str:
    if _is_figure(verdict):
        return f"ok, {verdict.note}"
    return "**failed**" if verdict.state == "failed" else verdict.state


def _notes(rows: list[Row]) -> str:
    lines = ["| client | step | |", "|---|---|---|"]
    for row in rows:
        if row.stack.remark:
            lines.append(f"| {row.stack.name} | all | {row.stack.remark} |")
        for step, verdict in row.verdicts.items():
            if verdict.note and not _is_figure(verdict):
                note = " ".join(verdict.note.split()).replace("|", "\\|")[:_NOTE_LENGTH]
                lines.append(f"| {row.stack.name} | {step} | {note} |")
    return "\n".join(lines) + "\n"


def _run(minutes: float) -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    text = (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {minutes:.0f} minutes, {model}, {os.cpu_count()} cores, {system}, "
        f"Python {platform.python_version()}, the gateway's asyncssh {version('asyncssh')}. Both ends and all others share "
        f"the cores; the load average was {os.getloadavg()[2]:.1f}."
    )
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"
