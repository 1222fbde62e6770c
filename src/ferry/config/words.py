"""The configuration's keys in the form that people write, and pydantic's errors as sentences for operators."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ferry.names import printable

from .model import Config, Section, TcpRange

SECTIONS: Final[Mapping[str, type[Section]]] = MappingProxyType(
    {
        name: info.annotation
        for name, info in Config.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section)
    }
)
FIELDS: Final[Mapping[str, FieldInfo]] = MappingProxyType(
    {
        **{name: info for name, info in Config.model_fields.items() if name not in SECTIONS},
        **{f"{name}.{key}": info for name, model in SECTIONS.items() for key, info in model.model_fields.items()},
    }
)
RANGES_EXAMPLE: Final = '[{ first = 21000, last = 22999, listen = "loopback" }]'
PROBLEMS: Final[Mapping[str, str]] = MappingProxyType(
    {  # pydantic's error types, in words
        "bool_parsing": "is neither true nor false",
        "bool_type": "is neither true nor false",
        "dataclass_type": 'is not an address: write "127.0.0.1:2222"',
        "dict_type": "is not a table: write its keys below a [section] header",
        "finite_number": "is not a number of seconds: write 15s, 10m, 2h or 30d",
        "float_parsing": "is not a number",
        "float_type": "is not a number",
        "greater_than_equal": "is too small: the least is {ge}",
        "int_from_float": "is not a whole number",
        "int_parsing": "is not a whole number",
        "int_type": "is not a whole number",
        "is_instance_of": 'is not an address: write "127.0.0.1:2222"',
        "less_than_equal": "is too large: the most is {le}",
        "list_type": 'is not a list: write ["…", "…"]',
        "literal_error": "is not one of {expected}",
        "model_type": "is not a table: write its keys below a [section] header",
        "path_type": "is not a path: write it in quotes",
        "string_type": "is not text: put it in quotes",
    }
)


@dataclass(slots=True)
class Provenance:
    """The file, variable or flag that set each key, so that an error names it."""

    default: str
    of: dict[str, str] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """`FERRY_SSH__LISTEN`, `--ssh-listen`, or `/etc/ferry/ferry.toml: ssh.listen`."""
        for prefix in (key, ".".join(key.split(".")[:2]), key.split(".", 1)[0]):
            if prefix in self.of:
                return self.of[prefix]
        return f"{self.default}: {key}"


def is_list(key: str) -> bool:
    """Whether the field takes several values."""
    return typing.get_origin(FIELDS[key].annotation) is list


def is_optional(key: str) -> bool:
    """Whether the field may be left without a value."""
    return type(None) in typing.get_args(FIELDS[key].annotation)


def nearest(key: str, *, among: Iterable[str] | None = None, cutoff: float = 0.6) -> str | None:
    """The key that an unknown `key` probably means: first in the same section, then in any by its last word."""
    known = list(FIELDS if among is None else among)
    section, _, last = key.rpartition(".")
    siblings = [name for name in known if name.rpartition(".")[0] == section]
    by_last = {name.rpartition(".")[2]: name for name in reversed(known)}
    if section in SECTIONS:
        found = difflib.get_close_matches(key, siblings, 1, cutoff + 0.1)
        if found:
            return found[0]
    if last in by_last:
        return by_last[last]
    return next(iter(difflib.get_close_matches(key, known, 1, cutoff)), None)


RETIRED: Final = types.MappingProxyType(
    {"limits.requests_waiting": "limits.visitors_per_tunnel alone bounds the requests of a tunnel"}
)
"""Settings of an earlier version, and their replacements."""


def unknown_key(key: str, provenance: Provenance) -> str:
    """The error for an unknown key of the file."""
    if key in RETIRED:
        return f"{provenance.default}: {key} is not a setting any more: delete it ({RETIRED[key]})"
    if "." in key:
        meant = nearest(key)
    else:
        top = [*SECTIONS, *(name for name in FIELDS if "." not in name)]
        meant = next(iter(difflib.get_close_matches(key, top, 1, 0.65)), None) or nearest(key)
    hint = f"did you mean {meant}?" if meant else "see `ferry docs configuration` for all keys"
    return f"{provenance.default}: unknown key {printable(key)}: {hint}"


def sentences(error: ValidationError, provenance: Provenance) -> list[str]:
    """One sentence per mistake: its place, the mistake, and what to write instead."""
    return list(dict.fromkeys(_sentence(detail, provenance) for detail in error.errors(include_url=False)))


def _sentence(detail: ErrorDetails, provenance: Provenance) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if not key:
        return f"{provenance.default}: {_problem(detail)}"
    if detail["type"] == "extra_forbidden":  # of a table in a list; other keys were looked at before
        allowed = ", ".join(TcpRange.model_fields)
        return f"{provenance.where(key)}: unknown key: a range has {allowed}"
    problem = _problem(detail)
    if problem.startswith(f"{key}."):  # a rule between keys of one section names them itself
        return f"{provenance.where(key).removesuffix(key)}{problem}"
    return f"{provenance.where(key)}: {problem}"


def _problem(detail: ErrorDetails) -> str:
    given = printable(_shown(detail["input"]))
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] == "missing":
        return "is missing: write it"
    if detail["loc"][-1] == "ranges":
        return f"{given} is not a list of ranges: write {RANGES_EXAMPLE} (as JSON in a variable)"
    text = PROBLEMS.get(detail["type"])
    return f"{given} {text.format_map(context)}" if text else f"{given}: {detail['msg']}"


def _shown(value: object) -> str:
    return repr(str(value)) if isinstance(value, (str, Path)) else str(value)
