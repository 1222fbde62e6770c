"""Ranges of ports by their purpose, for the port table: `[tcp.purposes]` of the configuration.

ssh = "21000-21999"
service = "22000-22999"
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, NamedTuple

from pydantic import BeforeValidator

from ferry.names import parse_label, printable

from .values import parsed

_SPAN: Final = re.compile(r"\s*([0-9]{1,5})\s*(?:-\s*([0-9]{1,5}))?\s*", re.ASCII)
_EXAMPLE: Final = 'ssh = "21000-21999"'


class PortSpan(NamedTuple):
    """The first and the last port of a range."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def _purposes(value: object) -> object:
    """A table of the file, or the words of a variable: `ssh=21000-21999 service=22000-22999`. Raises ValueError, and InvalidInput."""
    if isinstance(value, str):
        value = dict(_pairs(value))
    if not isinstance(value, Mapping):
        raise ValueError(f"{printable(str(value))} is no table: write {_EXAMPLE} below [tcp.purposes]")
    found = {parse_label(str(name), "purpose"): _span(name, span) for name, span in value.items()}
    spans = sorted((span, name) for name, span in found.items())
    for (before, one), (after, other) in itertools.pairwise(spans):
        if after.first <= before.last:
            raise ValueError(f"{one} and {other} share port {after.first}: separate them")
    return found


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for word in re.split(r"[\s,]+", text.strip()):
        name, equals, span = word.partition("=")
        if equals:
            yield name, span
        elif word:
            raise ValueError(f"{printable(word)!r} names no ports: write ssh=21000-21999")


def _span(name: object, value: object) -> PortSpan:
    match = _SPAN.fullmatch(str(value))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= 65535:
        shown = printable(f"{name} = {value}")
        raise ValueError(f"{shown} is no range of ports: write the first and the last, as in {_EXAMPLE}")
    return PortSpan(first, last)


Purposes = Annotated[dict[str, PortSpan], BeforeValidator(parsed(_purposes))]
DEFAULT_PURPOSES: Final = (("ssh", PortSpan(21000, 21999)), ("service", PortSpan(22000, 22999)))
