"""The types of the configuration's values: how each is written in the file, and the base of its tables.

An error says what to write instead. `ferry.config.words` puts the key before it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ferry.errors import InvalidInput
from ferry.names import Endpoint, parse_domain, parse_label, printable
from ferry.protocol.key_paths import parse_key_path

Given = TypeVar("Given")
Made = TypeVar("Made")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")
_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
)
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|)")
_CONTACT = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|https?://[!#-;=?-~]+", re.ASCII)
_BYTES: Final[Mapping[str, int]] = MappingProxyType({"B": 1, "": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3})


def parsed(parse: Callable[[Given], Made]) -> Callable[[Given], Made]:
    """`parse`, for a value of the configuration: its InvalidInput is a ValueError, which pydantic collects with others."""

    def validate(value: Given) -> Made:
        try:
            return parse(value)
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    return validate


def _duration(value: object) -> object:
    if isinstance(value, str):
        if not (match := _DURATION.fullmatch(value.strip())):
            raise ValueError(f'{value!r} is not a duration: write "15s", "10m", "2h" or "30d"')
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _size(value: object) -> object:
    if isinstance(value, str):
        if not (match := _SIZE.fullmatch(value.strip())):
            raise ValueError(f'{value!r} is not a size: write "16KiB" or "1MiB"')
        return int(match[1]) * _BYTES[match[2]]
    return value


def parse_listen(text: str) -> Endpoint:
    """`127.0.0.1:2222` or `[::1]:2222`; `*:2222` and `:2222` mean every address. Raises ValueError with the fix."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) <= 65535:
        meant = text if re.fullmatch("[1-9][0-9]{0,4}", text) else "2222"
        raise ValueError(f"{text!r} is not an address: {listen_example(meant)}")
    host = host.strip("[]")
    if host in ("", "*"):
        return Endpoint("::", int(port))
    try:
        return Endpoint(str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)), int(port))
    except ValueError:
        raise ValueError(f"{host!r} is not a numeric address: {listen_example(port)}") from None


def is_loopback(host: str) -> bool:
    """Whether a numeric address can be reached from this host only."""
    return ipaddress.ip_address(host).is_loopback


def listen_example(port: str) -> str:
    """What to write for an address, with this port."""
    return f'write "127.0.0.1:{port}", or "*:{port}" for all addresses of this host'


def _listen(value: object) -> object:
    if isinstance(value, str):
        value = [part for part in re.split(r"[\s,]+", value) if part]
    if isinstance(value, list):
        return [parse_listen(item) if isinstance(item, str) else item for item in value]
    return value


def _words(value: object) -> object:
    return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value


def _labels(words: list[str]) -> list[str]:
    return [parse_label(word) for word in words]


def parse_contact(text: str | None) -> str | None:
    """`abuse@example.com`, `mailto:` before it or not, or a URL; None for an empty text. Raises ValueError with the fix."""
    contact = (text or "").strip().removeprefix("mailto:")
    if not contact:
        return None
    if not _CONTACT.fullmatch(contact):
        raise ValueError(
            f"{printable(contact)!r} is neither an e-mail address nor a URL: write abuse@example.com or https://..."
        )
    return contact


def _path(value: object) -> object:
    if isinstance(value, list):
        one = printable(str(value[0])) if value else "/var/lib/ferry"
        raise ValueError(f'a list stands where one path is meant: write "{one}"')
    if not str(value) or "\0" in str(value):
        raise ValueError(f'{str(value)!r} is not a path: write one, such as "/var/lib/ferry"')
    return value


def _key_paths(paths: list[Path]) -> list[Path]:
    for path in paths:
        parse_key_path(path)
    return paths


def _key_path(path: Path | None) -> Path | None:
    if path is not None:
        parse_key_path(path)
    return path


Seconds = Annotated[float, BeforeValidator(_duration), Field(ge=0, allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Listen = Annotated[list[Endpoint], BeforeValidator(_listen)]
FileName = Annotated[Path, BeforeValidator(_path)]
OptionalFile = Annotated[Path | None, BeforeValidator(_path)]
Paths = Annotated[list[FileName], BeforeValidator(_words)]
Words = Annotated[list[str], BeforeValidator(_words)]
Labels = Annotated[list[str], BeforeValidator(_words), AfterValidator(parsed(_labels))]
OptionalKeyPath = Annotated[OptionalFile, AfterValidator(parsed(_key_path))]
KeyPaths = Annotated[Paths, AfterValidator(parsed(_key_paths))]
DomainName = Annotated[str, AfterValidator(parsed(parse_domain))]
Contact = Annotated[str | None, AfterValidator(parse_contact)]


class Section(BaseModel):
    """A table of the file. Unknown keys are errors; values never change after start (a reload makes a new object)."""

    # Validators are built at first use: only the whole configuration's is ever used, and those of its tables would be 1 MB.
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)
