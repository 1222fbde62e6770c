"""`ferry audit`: who has logged in, forwarded, reached and changed what; and whether the log of it is whole."""

from __future__ import annotations

import enum
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, TypeVar

import typer

from ferry import limits
from ferry.amounts import number, size, took
from ferry.clock import SystemClock, timestamp
from ferry.errors import FerryError, InvalidInput
from ferry.protocol.audit import BEFORE_ALL, Kind, Outcome, Proof, Wanted, gaps_in, parse_anchor, parse_line, prove
from ferry.regular_files import open_regular

from .client import Gateway
from .locate import answers, find_data
from .options import ConfigOption, JsonOption, Output, OutputOption, StateOption
from .output import paint, print_error, print_json, print_note, quiet_pipe, safe
from .wrapping import columns, columns_of, wrapped

if TYPE_CHECKING:
    from ferry.protocol.audit import Entry, Link

EXIT_DOES_NOT_FIT: Final = 1
INTERRUPTED: Final = 130  # as a shell reports SIGINT
_INDENT: Final = 7  # columns of the lines in which a record goes on
_HOLDER: Final = re.compile(r"(SHA256:[A-Za-z0-9+/]{43}):(.+)", re.DOTALL)
_AGO: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS: Final[Mapping[str, str]] = MappingProxyType({"s": "seconds", "m": "minutes", "h": "hours", "d": "days"})
_STYLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"refused": ("yellow",)})


class Part(enum.StrEnum):
    """What is asked for."""

    RECORDS = "records"
    HEAD = "head"
    VERIFY = "verify"


def audit(
    part: Annotated[
        Part,
        typer.Argument(
            help="`verify` proves that no record was changed or left out; `head` prints an anchor for it, to be kept "
            "elsewhere. Without it the records are shown.",
            metavar="[verify|head]",
            show_default=False,
        ),
    ] = Part.RECORDS,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity",
            help="Those of one identity: its name, or its key if it has none; by a certificate SHA256:CA:KEY-ID.",
        ),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Those of one key, SHA256:...")] = None,
    kind: Annotated[list[Kind] | None, typer.Option("--kind", help="Those of one kind.")] = None,
    outcome: Annotated[list[Outcome] | None, typer.Option("--outcome", help="Those with one outcome.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="From a time on: 2h, 3d, 2026-11-22, 2026-11-22T08:00 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Before a time, written as for --since.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, max=limits.AUDIT_SHOWN, help="The newest ones at most.")
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow new records until Ctrl-C.")] = False,
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor", help="For verify: what `ferry audit head` has printed. It shows that no end is missing."
        ),
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(
            "--lines", help="For verify: a file of JSON lines instead of the gateway's own log.", readable=False
        ),
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    _output: OutputOption = Output.TEXT,
) -> None:
    """Show the audit log, one record after another, the oldest first: of the running gateway, or of a stopped one by its
    state folder. As JSON, each line is one object.

    Exit codes: 0 done, or all records fit; 1 the log cannot be read, or a record does not fit or is missing (the first one
    is named); 2 invalid input.
    """
    if part is not Part.VERIFY and (anchor or lines):
        raise InvalidInput("--anchor and --lines are for `ferry audit verify`")
    if part is Part.VERIFY:
        met = parse_anchor(anchor) if anchor else None
        _verify(
            _of_lines(lines, met) if lines else _of_state(find_data(state, os.environ, config=config), met), as_json
        )
        return
    folder = find_data(state, os.environ, config=config)
    if part is Part.HEAD:
        _head(folder, as_json=as_json)
        return
    now = SystemClock().now()
    wanted = Wanted(
        _recorded(identity),
        key,
        _one("--kind", kind),
        _one("--outcome", outcome),
        _moment(since, now),
        _moment(until, now),
    )
    if answers(folder):
        asked = {name: value for name, value in wanted._asdict().items() if value is not None}
        found: Iterable[Mapping[str, Any]] = Gateway(folder).lines(
            "audit", endless=follow, follow="true" if follow else None, last=limit, **asked
        )
    elif follow:
        raise FerryError(f"no gateway runs with {folder}: new records can be followed once one does")
    else:
        found = _stored(folder, wanted, limit)
    try:
        with quiet_pipe():
            shown = _show(found, as_json=as_json, at_once=follow)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if not shown and limit and not as_json:
        print_note(_nothing(wanted, since, until), as_json=False)
    if follow:
        print_error("the gateway has stopped", as_json=as_json)


T = TypeVar("T", bound=enum.StrEnum)


def _one(option: str, values: Sequence[T] | None) -> T | None:
    """The one value of an option. Raises InvalidInput if there are several."""
    if values and len(values) > 1:
        raise InvalidInput(f"one {option} at a time: write {option} {values[0]}, or leave it out to see all")
    return values[0] if values else None


def _recorded(identity: str | None) -> str | None:
    """An identity as records have it; of a certificate as rules name it too, CA and key id."""
    holder = _HOLDER.fullmatch(identity or "")
    return f"{holder[2]} (CA {holder[1]})" if holder else identity


def _moment(text: str | None, now: float) -> str | None:
    """A time as records have it. Raises InvalidInput."""
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text.strip()):
            return timestamp(now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds())
        at = datetime.fromisoformat(text.strip())
        return timestamp((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise InvalidInput(f"'{safe(text)}' is no time: write 2h, 3d, 2026-11-22 or 2026-11-22T08:00") from None


def _nothing(wanted: Wanted, since: str | None, until: str | None) -> str:
    """Why nothing was shown, and what to write."""
    asked = [
        f"--{name} {safe(value)}"
        for name, value in (wanted._asdict() | {"since": since, "until": until}).items()
        if value is not None
    ]
    if wanted.key is not None and not wanted.key.startswith("SHA256:"):
        fix = f"write the key as SHA256:... (`ferry keys` has them), or --identity {safe(wanted.key)}"
    elif wanted.identity is not None:
        fix = (
            "an identity is the name of its key, the key itself (SHA256:...) if that has no name, SHA256:CA:KEY-ID "
            "by a certificate, or anonymous"
        )
    else:
        fix = ""
    told = f"no records with {' '.join(asked)}" if asked else "no records"
    return f"{told}: {fix}" if fix else told


def _show(found: Iterable[Mapping[str, Any]], *, as_json: bool, at_once: bool) -> int:
    """Print the records. Returns their number."""
    shown = 0
    for record in found:
        shown += 1
        lines = [json.dumps(record)] if as_json else describe(record, columns(sys.stdout))
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        if at_once:
            sys.stdout.flush()  # so that a pipe's reader sees each record at once
    return shown


def describe(record: Mapping[str, Any], width: int) -> list[str]:
    """One record for people, in `width` columns: who, from where and what in one line; why, and by which rule, below."""
    outcome, who, peer = (str(record.get(name, "")) for name in ("outcome", "identity", "peer"))
    head = " ".join(
        [
            f"{record.get('seq', 0):>6}",
            safe(record.get("time", ""))[:19].replace("T", " ") + "Z",
            f"{safe(record.get('kind', '')):<8}",
            paint(f"{safe(outcome):<7}", *_STYLES.get(outcome, ())),
        ]
    )
    what = "" if record.get("kind") == Kind.THIN else safe(record.get("what", ""))  # a hash, for programs
    parts = [paint(safe(who), "bold"), f"from {safe(peer)}" if peer else "", what, _amounts(record)]
    more = [safe(record.get("detail", "")), f"by {safe(record['rule'])}" if record.get("rule") else ""]
    if record.get("kind") == Kind.LOGIN and record.get("key", who) != who:
        more.append(f"key {safe(record['key'])}")  # the other records of the connection have the same
    more.append(f"connection {safe(record['connection'])}" if record.get("connection") else "")
    first = " ".join(part for part in parts if part)
    below = wrapped("; ".join(part for part in more if part), width - _INDENT) if any(more) else []
    return [*_beside(head, first, width), *(" " * _INDENT + line for line in below)]


def _beside(head: str, text: str, width: int) -> list[str]:
    """The head, and the text behind it; below it where there is no room."""
    if columns_of(head) + 1 + columns_of(text) <= width or not text:
        return [f"{head} {text}".rstrip()]
    return [head.rstrip(), *(" " * _INDENT + line for line in wrapped(text, width - _INDENT))]


def _amounts(record: Mapping[str, Any]) -> str:
    """How much, how long, how often."""
    found = []
    if "upto" in record:
        found.append(f"{number(record.get('events', 0), 'record')} dropped, up to {record['upto']}")
    elif "events" in record:
        found.append(f"{record['events']} times")
    if "up" in record:
        found.append(f"{size(record['up'])} up, {size(record.get('down', 0))} down")
    if "milliseconds" in record:
        found.append(took(record["milliseconds"] / 1000))
    return f"({', '.join(found)})" if found else ""


# --- the state folder


def _stored(folder: Path, wanted: Wanted, limit: int) -> Iterator[Mapping[str, Any]]:
    from ferry.gateway.audit_folder import stored_log

    with stored_log(folder) as log:
        for entry in log.last(wanted, limit):
            yield json.loads(entry.line)


def _head(folder: Path, *, as_json: bool) -> None:
    from ferry.gateway.audit_folder import stored_log

    with stored_log(folder) as log:
        head = log.head()
    if as_json:
        print_json({"seq": head.seq, "hash": head.hash, "anchor": str(head)})
    else:
        typer.echo(str(head))


def _of_state(folder: Path, anchor: Link | None) -> Proof:
    from ferry.gateway.audit_folder import stored_log

    with stored_log(folder) as log:
        return prove(log.entries(), log.start(), anchor, log.gaps())


# --- a proof


def _of_lines(path: Path, anchor: Link | None) -> Proof:
    """The proof of a file of JSON lines. It may begin anywhere: then its first record is taken on trust."""
    try:
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            gaps = gaps_in(entry.record for entry in _entries(file))
            file.seek(0)
            found = _entries(file)
            first = next(found, None)
            if first is None:
                raise InvalidInput(f"{path} has no record of an audit log")
            start = BEFORE_ALL if first.link.seq == 1 else None
            return prove(chain([first], found), start, anchor, gaps)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None


def _entries(file: BinaryIO) -> Iterator[Entry]:
    """The records in a file of JSON lines, from where it stands."""
    lines = iter(lambda: file.readline(limits.AUDIT_LINE_BYTES + 1), b"")
    return (entry for line in lines if (entry := parse_line(line)) is not None)


def _verify(proof: Proof, as_json: bool) -> None:
    count = proof.records
    dropped = proof.head.seq - proof.first + 1 - count if count else 0
    if as_json:
        print_json(
            {
                "fits": proof.fits,
                "first": proof.first,
                "records": count,
                "dropped": dropped,
                "head": str(proof.head),
                "wrong": proof.wrong,
                "why": proof.why,
            }
        )
    elif proof.fits:
        last = f", {proof.first} to {proof.head.seq}" if count else ""
        last += f" without {dropped:,} that were dropped from floods" if dropped else ""
        typer.echo(f"{number(count, 'record')}{last}: each follows the one before. The last one is\n{proof.head}")
    else:
        print_error(proof.why, as_json=False)
        if count:
            typer.echo(f"{number(count, 'record')} before it fit: {proof.first} to {proof.head.seq}")
    if not proof.fits:
        raise typer.Exit(EXIT_DOES_NOT_FIT)
