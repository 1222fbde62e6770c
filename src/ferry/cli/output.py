"""Prints for the commands. It escapes every text from the gateway, since names, versions and paths come from strangers.

On a terminal a table fits its width; in a pipe no line is cut or wrapped, so that `grep` and `awk` see whole values.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, TextIO

from ferry import limits
from ferry.amounts import span
from ferry.names import certified, printable

from . import wrapping
from .table import Column, table

CA_MARK: Final = " (CA "  # between a key id and the CA of the certificate, in tables
PROSE_WIDTH: Final = 80  # columns of sentences
_HANG: Final = 4  # columns by which an error goes on to the right of its beginning
_PLACE: Final = re.compile(r"^(?:ferry: )?(.+?), line [0-9]+", re.MULTILINE)
_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
)
_UNWRITTEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)


def colours() -> bool:
    """Whether to colour: on a terminal that can, unless $NO_COLOR is set (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def paint(text: str, *styles: str) -> str:
    """`text` in these styles, or as it is where there is no colour."""
    if not styles or not text or not colours():
        return text
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


def visit_style(status: int, note: str) -> tuple[str, ...]:
    """The colour of a visit: an error of the service or of the tunnel, of the visitor, or none."""
    if status >= 500 or (note and not status):
        return ("red",)
    return ("yellow",) if status >= 400 else ()


def print_json(document: object) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def print_error(error: str, fix: str = "", *, as_json: bool, log: bool = False) -> None:
    """An error, on stderr: a text, or one line with the object that the API has for errors. `log`: stderr is a log, whose
    lines stay whole, unless it is a terminal."""
    whole = f"{error}{' ' if error.endswith('?') else ': '}{fix}" if fix else error
    _to_stderr(whole, {"error": error, "fix": fix} if as_json else None, log=log)


def print_note(note: str, *, as_json: bool) -> None:
    """What the operator should know, on stderr, which is a log."""
    _to_stderr(f"note: {note}", {"note": note} if as_json else None, log=True)


def _to_stderr(text: str, document: Mapping[str, str] | None, *, log: bool) -> None:
    """If nobody can read it, the exit code alone says it."""
    text = f"ferry: {text}"
    if document is not None:
        text = json.dumps(document)
    elif not log or sys.stderr.isatty():
        text = _lines(text)
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def _lines(error: str) -> str:
    """The error, within the columns of stderr. A file in it, before its line, is whole."""
    width = wrapping.columns(sys.stderr)
    return "\n".join(wrapping.wrapped(error, width, hang=_HANG, whole=_PLACE.findall(error)))


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """Rows under their titles, without lines, escaped."""
    width = wrapping.columns(sys.stdout) if sys.stdout.isatty() else None
    titles, *lines = table(columns, [[safe(value) for value in row] for row in rows], width)
    sys.stdout.write(paint(titles, "bold") + "\n")
    sys.stdout.writelines(f"{line}\n" for line in lines)


def folded(text: str, first: str = "", later: str | None = None) -> str:
    """A text, escaped, in lines of PROSE_WIDTH columns: the first begins with `first`, the others with `later`. Words, which
    may be paths, stay whole."""
    lines = textwrap.wrap(
        printable(text, limits.LINT_TEXT_CHARS),
        PROSE_WIDTH,
        initial_indent=first,
        subsequent_indent=first if later is None else later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)


def safe(value: object) -> str:
    """A value of the gateway's, escaped."""
    return printable(str(value), limits.LOG_FIELD_CHARS)


def short_identity(text: str) -> str:
    """`web-1` for `web-1 (SHA256:...)`; `web-1 (CA zgxyUnvMD)` for `web-1 (certificate, ...)`, since two CAs may write the same
    key id; the first characters of a bare fingerprint, which are enough to tell keys apart."""
    if (certificate := certified(text)) is not None:
        key_id, ca = certificate
        return f"{key_id}{CA_MARK}{ca.removeprefix('SHA256:')[:9]})"
    name = text.partition(" (SHA256:")[0]
    return name[:16] + ".." if name.startswith("SHA256:") else name


def age(moment: Any, now: float) -> str:
    """How long ago an RFC 3339 time was."""
    at = datetime.fromisoformat(str(moment))
    return span(max(0.0, (datetime.fromtimestamp(now, UTC) - at) / timedelta(seconds=1)))


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """Let `| head` end the command without an error."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        raise SystemExit(0) from None


def of_stdout(error: OSError) -> bool:
    """Whether `error` is of what was printed: the disk is full, or the reader has gone. Errors of files name them."""
    return error.filename is None and error.errno in _UNWRITTEN


def _nowhere() -> io.TextIOWrapper:
    """A stream that drops all text, for the life of the process."""
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w")), encoding="utf-8")


def prepare_streams() -> None:
    """Open what the shell has closed (`>&-`): a file that is opened later would get its number, and the answer. Write
    characters that the locale's encoding lacks as escapes."""
    if sys.stdout is None:
        sys.stdout = _nowhere()
    if sys.stderr is None:
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard(stream: TextIO) -> None:
    """Drop what could not be written. Otherwise the interpreter tries once more at its exit, and prints an error then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.flush()
