"""Reads a forward as people type it, for `ssh gw explain`: what stock ssh would ask the gateway for (ssh(1), readconf.c).

-R 22080:localhost:3000      ('localhost', 22080), as ssh sends without a bind address
-R blog:80:localhost:3000    ('blog', 80)
-R '*:80:localhost:3000'     ('', 80)
-R 22081                     ('localhost', 22081), a SOCKS proxy
-L 8022:web-1:22, -W web-1:22, -J web-1     ('web-1', 22)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable, typed_name

_FIELD: Final = re.compile(r"\[([^\]]*)\]|([^:]*)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
EXAMPLE: Final = "write explain -R 22080:localhost:3000, -L 8022:web-1:22, -W web-1:22 or -J web-1"


class TypedForward(NamedTuple):
    """One forward."""

    listens: bool
    """`-R`: the gateway would listen. Otherwise it would open a connection."""
    host: bytes
    port: int
    typed: str
    """The option with its value, as far as the gateway reads it."""

    def __str__(self) -> str:
        return self.typed


def parse_typed(words: Sequence[str]) -> TypedForward:
    """The forward of an option with its value, in one word or two. Raises InvalidInput."""
    option, value = words[0][:2] if words else "", "".join(words)[2:]
    if option not in ("-R", "-L", "-W", "-J") or len(words) > 2 or not value:
        detail = f"explain with {typed_name(words[0])}" if words else "explain without a forward"
        raise InvalidInput(f"explain takes one forward, as you would type it: {EXAMPLE}", detail=detail)
    shown = f"{option} {printable(value, 80)}"
    if option == "-J":
        host, _, port = value.rpartition("@")[2].partition(":")
        return TypedForward(False, host.encode(), _port(port or "22", value), shown)
    fields = _fields(value)
    if option == "-W":
        if len(fields) != 2:
            raise _unreadable(option, value)
        return TypedForward(False, fields[0].encode(), _port(fields[1], value), shown)
    if option == "-L":
        if len(fields) not in (3, 4):
            raise _unreadable(option, value)
        return TypedForward(False, fields[-2].encode(), _port(fields[-1], value), shown)
    bind, port = fields[:2] if len(fields) in (2, 4) else ("localhost", fields[0])
    if len(fields) > 4:
        raise _unreadable(option, value)
    return TypedForward(True, b"" if bind == "*" else bind.encode(), _port(port, value, least=0), shown)


def _fields(text: str) -> list[str]:
    """The parts between the colons. A part in brackets may have colons."""
    found: list[str] = []
    at = 0
    while at <= len(text):
        match = _FIELD.match(text, at)
        assert match is not None  # it matches the empty text too
        found.append(match[2] if match[1] is None else match[1])
        at = match.end() + 1
    return found


def _port(text: str, value: str, *, least: int = 1) -> int:
    if not _PORT.fullmatch(text) or not least <= int(text) <= 65535:
        raise InvalidInput(
            f"'{printable(text, 40)}' in '{printable(value, 60)}' is no port: {EXAMPLE}", detail="explain with no port"
        )
    return int(text)


def _unreadable(option: str, value: str) -> InvalidInput:
    return InvalidInput(
        f"'{option} {printable(value, 60)}' is no forward of ssh: {EXAMPLE}", detail=f"explain with an odd {option}"
    )
