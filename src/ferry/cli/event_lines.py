"""Events for people. In a pipe a line is whole, so that `grep` sees all of it; on a terminal it fits the width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ferry.observe.texts import quoted

from .output import paint, safe, visit_style
from .wrapping import LEAST_COLUMNS

HEAD: Final = ("seq", "time", "level", "event")
EVENT_WIDTH: Final = 18  # columns; of the longest usual name
INDENT: Final = " " * 4  # of the lines that go on with an event's fields
LEVEL_STYLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"warning": ("yellow",), "error": ("red",)})


def describe(event: dict[str, Any]) -> str:
    """One event for a pipe: `time event key=value …`, as in the log."""
    mark = "" if event["level"] in ("debug", "info") else f" [{safe(event['level'])}]"
    return " ".join([f"{safe(event['time'])}{mark} {safe(event['event']):<{EVENT_WIDTH}}", *_fields(event)]).rstrip()


def for_terminal(event: dict[str, Any], width: int) -> Iterator[str]:
    """One event for a terminal of `width` columns: one line, and further ones where its fields do not fit."""
    width = max(width, LEAST_COLUMNS)
    moment = _short_time(safe(event["time"]))
    name = safe(event["event"])
    styles = LEVEL_STYLES.get(event["level"], ())
    room = width - len(moment) - 1 - max(len(name), EVENT_WIDTH)
    head = f"{paint(moment, 'dim')} {paint(name.ljust(EVENT_WIDTH), *(styles or ('bold',)))}"
    if name == "visit":
        text, style = _visit(event, room - 1)
        yield f"{head} {paint(text, *style)}"
        return
    line = ""
    for field in _fields(event):
        token = _cut(field, width - len(INDENT))
        if len(line) + 1 + len(token) <= room:
            line += f" {token}"
            continue
        yield (head + line).rstrip()
        head, line, room = INDENT, token, width - len(INDENT)
    yield (head + line).rstrip()


def _fields(event: dict[str, Any]) -> list[str]:
    return [
        f"{safe(key)}={quoted(safe(value))}"
        for key, value in event.items()
        if key not in HEAD and value not in (None, "")
    ]


def _short_time(time: str) -> str:
    """`11-14 22:13:20` of `2023-11-14T22:13:20.000Z`."""
    return time[5:19].replace("T", " ") if len(time) >= 19 else time


def _visit(event: dict[str, Any], room: int) -> tuple[str, tuple[str, ...]]:
    """A visit on one line: the status, the duration, what was asked for, by whom."""
    status = event.get("status") or 0
    seconds = float(event.get("seconds") or 0.0)
    took = f"{seconds * 1000:.0f}ms" if seconds < 10 else f"{seconds:.0f}s"
    begin = f"{status or '-':>3} {took:>6} "
    end = f" {safe(event.get('peer', ''))}".rstrip()
    address, target = safe(event.get("address", "")), safe(event.get("target", ""))
    asked = " ".join(
        part for part in (safe(event.get("method", "")), address if target == address else address + target) if part
    )
    note = f" {safe(event['note'])}" if event.get("note") else ""
    left = room - len(begin) - len(end)
    if len(asked) + len(note) > left:
        note = _cut(note, max(0, left - min(len(asked), left // 2)))
        asked = _cut(asked, left - len(note))
    return _cut(begin + asked + end + note, room), visit_style(status, note)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"
