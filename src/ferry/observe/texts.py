"""Escapes texts from the network for log lines and events. No other module does so."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from ferry import limits
from ferry.names import printable
from ferry.visits import Visit

TRACEBACK: Final = "traceback"
"""The one field that may hold several lines."""

QUERY_CUT: Final = "?..."
"""Stands for a query. ASCII: a line of JSON with anything else in it takes a slower path."""

_WORD: Final = re.compile(r'[^ ="]+')

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def shown_fields(fields: Mapping[str, object] | Visit) -> Mapping[str, object]:
    """An event's fields by name. A visit's target loses its query, which may hold a token or a password."""
    if not isinstance(fields, Visit):
        return fields
    shown = fields._asdict()
    path, query, _ = fields.target.partition("?")
    if query:
        shown["target"] = path + QUERY_CUT
    return shown


def safe_fields(fields: Mapping[str, object] | Visit) -> dict[str, object]:
    """`shown_fields` as plain JSON values with every text escaped and cut at `limits.LOG_FIELD_CHARS`."""
    fields = shown_fields(fields)
    safe = {key: safe_value(value) for key, value in fields.items()}
    if TRACEBACK in safe:
        safe[TRACEBACK] = _lines(fields[TRACEBACK])
    return safe


def safe_value(value: object) -> object:
    """`value` as a number, a flag, None, an escaped text, or a list or table of these. Other types become their `str`."""
    if isinstance(value, str):  # first, because most are
        return printable(value, limits.LOG_FIELD_CHARS)
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [safe_value(item) for item in value]
    if isinstance(value, Mapping):
        return {printable(str(key)): safe_value(item) for key, item in value.items()}
    return printable(str(value), limits.LOG_FIELD_CHARS)


def describe_exception(error: ExcInfo) -> str:
    """A traceback's text, not escaped yet: an exception's message may contain text from the network."""
    return "".join(traceback.format_exception(*error))


def quoted(value: object) -> str:
    """A value for `key=value`: in quotes where it is empty or has spaces, `=` or quotes, so that a line can be parsed."""
    text = str(value)
    if _WORD.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _lines(value: object) -> str:
    lines = [printable(line, limits.LOG_FIELD_CHARS) for line in str(value).splitlines()]
    return "\n".join(lines[-limits.LOG_TRACEBACK_LINES :])
