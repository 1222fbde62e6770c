"""Configuration values as people write them: for the file that `ferry init` makes and the reference page."""

from __future__ import annotations

import json
import types
import typing
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

from ferry.config.model import TcpRange
from ferry.config.purposes import PortSpan
from ferry.config.rules import shown
from ferry.config.sshd import SshdMatch
from ferry.config.values import Seconds, Size
from ferry.config.words import FIELDS
from ferry.names import Endpoint

_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_SIZES: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_DURATION: Final = typing.get_args(Seconds)[1]  # the validator that marks such a field
_SIZE: Final = typing.get_args(Size)[1]


def default_of(key: str) -> object:
    """The default value."""
    return FIELDS[key].get_default(call_default_factory=True)


def toml(key: str, value: object) -> str:
    """`value` as the file writes it: `"30d"`, `"16KiB"`, `["127.0.0.1:2222"]`."""
    info = FIELDS[key]
    if _DURATION in info.metadata:
        assert isinstance(value, (int, float))
        return _text(_duration(value))
    if _SIZE in info.metadata:
        assert isinstance(value, int)
        return _text(_size(value))
    return literal(value)


def kind(key: str) -> str:
    """What to write for the field, in a word or two."""
    info: FieldInfo = FIELDS[key]
    if _DURATION in info.metadata:
        return "duration"
    if _SIZE in info.metadata:
        return "size"
    return _kind_of(info.annotation)


def _kind_of(annotation: object) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if _DURATION in arguments:
        return "duration"
    if origin is typing.Literal:
        return " or ".join(f"`{word}`" for word in arguments)
    if origin in (types.UnionType, typing.Union):
        return _kind_of(next(each for each in arguments if each is not type(None)))
    if origin is dict:
        return "purposes"
    if origin is list:
        return {
            Endpoint: "addresses",
            Path: "paths",
            str: "words",
            TcpRange: "ranges",
            SshdMatch: "blocks",
            int: "numbers",
        }[_plain(arguments[0])]
    return {str: "text", Path: "path", int: "number", bool: "true or false"}[typing.cast("type", annotation)]


def _plain(annotation: typing.Any) -> type:
    """The type without its validators."""
    found: type = typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation
    return found


def _duration(seconds: float) -> str:
    if seconds != int(seconds):
        return f"{seconds * 1000:g}ms"
    unit, size = next((pair for pair in _UNITS if seconds and seconds % pair[1] == 0), ("s", 1))
    return f"{int(seconds) // size}{unit}"


def _size(count: int) -> str:
    unit, size = next((pair for pair in _SIZES if count and count % pair[1] == 0), ("B", 1))
    return f"{count // size}{unit}"


def literal(value: object) -> str:
    """A value as TOML."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case int():
            return str(value)
        case SshdMatch():
            pairs = (
                f"{name} = {literal(getattr(value, name))}"
                for name in type(value).model_fields
                if name in value.model_fields_set
            )
            return f"{{ {', '.join(pairs)} }}"
        case TcpRange():
            return f'{{ first = {value.first}, last = {value.last}, listen = "{value.listen}" }}'
        case PortSpan():
            return _text(str(value))
        case dict():
            return "{ " + ", ".join(f"{name} = {literal(item)}" for name, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(literal(item) for item in value) + "]"
        case Endpoint():
            return _text(shown(value))
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    """A TOML basic string: JSON's escapes are a part of TOML's. What a terminal does not print is escaped too."""
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"
