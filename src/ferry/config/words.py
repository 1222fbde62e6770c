"""The configuration's keys in the form that people write, and pydantic's errors as sentences for operators."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ferry.names import printable

from .model import Config, TcpRange
from .sshd import SshdMatch
from .values import Section, listen_example

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
        "bool_parsing": "is neither true nor false: write one of them",
        "bool_type": "is neither true nor false: write one of them",
        "dataclass_type": 'is not an address: write "127.0.0.1:2222"',
        "dict_type": "is not a table: write its keys below a [section] header",
        "finite_number": 'is not a number of seconds: write "15s", "10m", "2h" or "30d"',
        "float_parsing": 'is not a duration: write "15s", "10m", "2h" or "30d"',
        "float_type": 'is not a duration: write "15s", "10m", "2h" or "30d"',
        "greater_than_equal": "is too small: the least is {ge}",
        "int_from_float": "is not a whole number: write one, such as 5",
        "int_parsing": "is not a whole number: write one, such as 5",
        "int_type": "is not a whole number: write one, such as 5",
        "is_instance_of": 'is not an address: write "127.0.0.1:2222"',
        "less_than_equal": "is too large: the most is {le}",
        "list_type": 'is not a list: write ["…", "…"]',
        "literal_error": "is not known here: write {expected}",
        "model_type": "is not a table: write its keys below a line [{section}], such as {example}",
        "path_type": "is not a path: write it in quotes",
        "string_type": "is not text: put it in quotes",
    }
)


def counted(key: str) -> str:
    """A dotted key with its table as people count: `sshd.match.1.permit_open` is `sshd.match 2: permit_open`."""
    return _IN_TABLE.sub(lambda found: f"{found[1]} {int(found[2]) + 1}{': ' if found[3] else ''}", key)


_IN_TABLE: Final = re.compile(r"^(sshd\.match|tcp\.ranges)\.(\d+)(\.|$)")


@dataclass(slots=True)
class Provenance:
    """The file with its lines, the variable or the flag that set each key, so that an error names it."""

    default: str
    of: dict[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """`FERRY_SSH__LISTEN`, `--ssh-listen`, or `/etc/ferry/ferry.toml, line 12: ssh.listen`."""
        return self._setter(key) or f"{self.line(key)}: {counted(key)}"

    def rule(self, key: str) -> str:
        """The place and the key of a setting, for who reads why it has decided."""
        return f"{self._setter(key) or self.line(key)}: {counted(key)}"

    def place(self, *keys: str) -> str:
        """The variable, the flag or the line that set the first of `keys` that was set at all."""
        for key in keys:
            if setter := self._setter(key):
                return setter
            if key in self.lines:
                return self.line(key)
        return self.default

    def line(self, key: str) -> str:
        """The file, with the line of the key or of the table that has it."""
        number = self.number(key)
        return f"{self.default}, line {number}" if number else self.default

    def number(self, key: str) -> int:
        """The line of the key or of the table that has it, from 1; 0 if it is not known."""
        parts = key.split(".")
        found = (self.lines.get(".".join(parts[:count])) for count in range(len(parts), 0, -1))
        return next((line for line in found if line), 0)

    def _setter(self, key: str) -> str | None:
        for prefix in (key, ".".join(key.split(".")[:2]), key.split(".", 1)[0]):
            if prefix in self.of:
                return self.of[prefix]
        return None


@dataclass(slots=True)
class Mistakes:
    """The sentences about a configuration, and the keys that are left out so that the others can be checked."""

    texts: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)

    def without(self, error: ValidationError, values: MutableMapping[str, object]) -> None:
        """Delete from `values` what pydantic refused: keys, or a section whose keys do not go together."""
        for loc in {detail["loc"][:2] for detail in error.errors(include_url=False)}:
            section, *key = map(str, loc)
            table: Any = values[section]
            if key:
                del table[key[0]]
            else:
                del values[section]
            self.dropped.add(".".join([section, *key]))

    def concern(self, keys: Iterable[str]) -> bool:
        """Whether one of `keys` was left out."""
        return any(key in self.dropped or key.partition(".")[0] in self.dropped for key in keys)


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


_PORT_KEYS: Final = frozenset({"port", "ports", "bind", "host", "address", "addr"})


def unknown_key(key: str, value: object, provenance: Provenance) -> str:
    """The error for an unknown key of the file."""
    where = provenance.line(key)
    if key in RETIRED:
        return f"{where}: {key} is not a setting any more: delete it ({RETIRED[key]})"
    return f"{where}: unknown key {printable(key)}: {_meant(key, value)}"


def meant_key(key: str) -> str | None:
    """The key that an unknown key of the file probably means."""
    if "." in key:
        section, _, last = key.partition(".")
        return f"{section}.listen" if last in _PORT_KEYS and f"{section}.listen" in FIELDS else nearest(key)
    top = [*SECTIONS, *(name for name in FIELDS if "." not in name)]
    return next(iter(difflib.get_close_matches(key, top, 1, 0.65)), None) or nearest(key)


def _meant(key: str, value: object) -> str:
    section, _, last = key.rpartition(".")
    if last in _PORT_KEYS and (f"{section}.listen" in FIELDS or not section):
        text = printable(str(value))
        if not text.isdecimal():
            text = "443" if section == "https" else "80" if section == "http" else "2222"
        if not section:
            return f'listeners are in sections: write [ssh], and below it listen = "*:{text}"'
        host = "127.0.0.1" if section == "admin" else "*"
        behind = "" if section == "admin" else f"; if a firewall maps another port to it, {section}.advertised_port too"
        return f'write listen = "{host}:{text}"{behind}'
    meant = meant_key(key)
    return f"did you mean {meant}?" if meant else "see `ferry docs configuration` for all keys"


def sentences(error: ValidationError, provenance: Provenance) -> list[str]:
    """One sentence per mistake: its place, the mistake, and what to write instead."""
    return list(dict.fromkeys(_sentence(detail, provenance) for detail in error.errors(include_url=False)))


def _first_word(problem: str) -> str:
    return re.split(r"[^a-z_.]", problem, maxsplit=1)[0]


def _sentence(detail: ErrorDetails, provenance: Provenance) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":  # of a table in a list; other keys were looked at before
        what, model = ("a block", SshdMatch) if detail["loc"][:2] == ("sshd", "match") else ("a range", TcpRange)
        near = difflib.get_close_matches(str(detail["loc"][-1]), model.model_fields, 1)
        fix = f"did you mean {near[0]}?" if near else f"{what} has {', '.join(model.model_fields)}"
        return f"{provenance.where(key)}: unknown key: {fix}"
    problem = _problem(detail)
    if problem.startswith(f"{key}."):  # a rule between keys of one section names them itself
        return f"{provenance.place(_first_word(problem), key)}: {problem}"
    return f"{provenance.where(key)}: {problem}"


def _problem(detail: ErrorDetails) -> str:
    given = printable(_shown(detail["input"]))
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] == "value_error":
        return str(context["error"])
    if detail["type"] == "missing":
        return "is missing: write it"
    if detail["type"] == "list_type" and detail["loc"][-1] == "listen" and re.fullmatch("[1-9][0-9]{0,4}", given):
        return f"{given} is not an address: {listen_example(given)}"
    if detail["type"] == "model_type":
        section = str(detail["loc"][0])
        first = next(key for key in FIELDS if key.startswith(f"{section}."))
        context = {"section": section, "example": first.removeprefix(f"{section}.")}
    if detail["loc"] == ("sshd", "match"):
        return f"{given} is no list of blocks: write each below a line [[sshd.match]] (as JSON in a variable)"
    if detail["loc"][-1] == "ranges":
        return f"{given} is not a list of ranges: write {RANGES_EXAMPLE} (as JSON in a variable)"
    text = PROBLEMS.get(detail["type"])
    return f"{given} {text.format_map(context)}" if text else f"{given}: {detail['msg']}"


def _shown(value: object) -> str:
    return repr(str(value)) if isinstance(value, (str, Path)) else str(value)
