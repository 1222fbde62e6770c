"""Makes one log line of an event: JSON for machines, columns for people. On the hot path of every logged visit.

The usual renderers (structlog's among them) take 30 to 50 µs for a visit, as long as serving it does. These take a
quarter of that: one test of the whole line shows that nothing in it needs escaping, which is nearly always so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ferry import limits
from ferry.clock import timestamp

from .events import Event
from .levels import level_name
from .texts import TRACEBACK, quoted, safe_fields, safe_value, shown_fields

Render = Callable[[Event], str]

DIM: Final = "\x1b[2m"
BOLD: Final = "\x1b[1m"
CYAN: Final = "\x1b[36m"
RESET: Final = "\x1b[0m"
LEVEL_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "debug": DIM,
        "info": "\x1b[32m",
        "warning": "\x1b[33m",
        "error": "\x1b[31m",
    }
)
EVENT_WIDTH: Final = 18  # columns; of the longest usual name


def json_lines() -> Render:
    """One JSON object a line: `time`, `level`, `event`, then the fields."""
    encode = json.JSONEncoder(default=safe_value).encode
    stamp = cached_timestamp()

    def render(event: Event) -> str:
        head = {"time": stamp(event.time), "level": level_name(event.level), "event": event.name}
        fields = {
            key: round(value, 6) if isinstance(value, float) else value
            for key, value in shown_fields(event.fields).items()
        }
        line = encode({**head, **fields, **head})  # a field never hides the head
        # JSON writes a backslash for each character that `printable` would escape. A line below the bound for one field
        # has no field past it.
        if "\\" not in line and len(line) <= limits.LOG_FIELD_CHARS:
            return line
        return encode({**head, **safe_fields(event.fields), **head})

    return render


def human_lines(*, colour: bool) -> Render:
    """`time level event key=value …`. A traceback follows on lines of its own, indented."""
    dim, bold, cyan, reset = (DIM, BOLD, CYAN, RESET) if colour else ("", "", "", "")
    levels = {name: f"{code if colour else ''}{name:<7}{reset}" for name, code in LEVEL_STYLES.items()}
    stamp = cached_timestamp()

    def render(event: Event) -> str:
        fields = safe_fields(event.fields)
        trace = fields.pop(TRACEBACK, None)
        pairs = [
            f"{cyan}{key}{reset}={quoted(value)}" for key, value in fields.items() if value is not None and value != ""
        ]
        head = f"{dim}{stamp(event.time)}{reset} {levels[level_name(event.level)]} {bold}{event.name:<{EVENT_WIDTH if pairs else 0}}{reset}"
        line = " ".join([head, *pairs])
        return line if trace is None else line + "\n  " + str(trace).replace("\n", "\n  ")

    return render


def cached_timestamp() -> Callable[[float], str]:
    """`timestamp`, with the last second's text kept: making a calendar date costs 2 µs."""
    last, prefix = -1, ""

    def stamp(seconds: float) -> str:
        nonlocal last, prefix
        whole = int(seconds)
        if whole != last:
            last, prefix = whole, timestamp(whole)[:-4]
        return f"{prefix}{int((seconds - whole) * 1000):03d}Z"

    return stamp
