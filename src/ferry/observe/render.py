"""From an event to one line of log: JSON for machines, columns for people. Runs in the writer's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from structlog.dev import Column, KeyValueColumnFormatter, LogLevelColumnFormatter

from .events import Event, timestamp
from .levels import level_name
from .texts import TRACEBACK, quoted, safe_fields

Render = Callable[[Event], str]

DIM: Final = "\x1b[2m"
BOLD: Final = "\x1b[1m"
CYAN: Final = "\x1b[36m"
RESET: Final = "\x1b[0m"
LEVEL_STYLES: Final = {"debug": DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def json_lines() -> Render:
    """One JSON object a line: `time`, `level`, `event`, then the fields."""
    renderer = structlog.processors.JSONRenderer()

    def render(event: Event) -> str:
        line = renderer(None, event.name, _head(event) | safe_fields(event.fields) | _head(event))
        return line if isinstance(line, str) else line.decode()

    return render


def human_lines(*, colour: bool) -> Render:
    """`time [level] event key=value …`; only a traceback takes more than a line, indented below its own."""
    renderer = structlog.dev.ConsoleRenderer(sort_keys=False, columns=_columns(colour=colour))

    def render(event: Event) -> str:
        fields = {key: value for key, value in safe_fields(event.fields).items() if value not in (None, "")}
        trace = fields.pop(TRACEBACK, None)
        line = renderer(None, event.name, fields | _head(event))
        return line if trace is None else line + "\n  " + str(trace).replace("\n", "\n  ")

    return render


def _head(event: Event) -> dict[str, object]:
    return {"time": timestamp(event.time), "level": level_name(event.level), "event": event.name}


def _columns(*, colour: bool) -> list[Column]:
    def style(code: str) -> str:
        return code if colour else ""

    levels = {name: style(code) for name, code in LEVEL_STYLES.items()}
    value = KeyValueColumnFormatter(style(CYAN), "", style(RESET), value_repr=quoted)
    return [
        Column("time", KeyValueColumnFormatter(None, style(DIM), style(RESET), value_repr=str)),
        Column("level", LogLevelColumnFormatter(levels, style(RESET))),
        Column("event", KeyValueColumnFormatter(None, style(BOLD), style(RESET), value_repr=str, width=18)),
        Column("", value),
    ]
