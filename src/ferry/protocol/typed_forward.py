"""Forwards as people type them. `parse_typed` reads one, for `ssh gw explain`: what stock ssh would ask the gateway for
(ssh(1), readconf.c). `shown_request` is its inverse.

-R 22080:localhost:3000      ('localhost', 22080), as ssh sends without a bind address
-R blog:80:localhost:3000    ('blog', 80)
-R '*:80:localhost:3000'     ('', 80)
-R 22081                     ('localhost', 22081), a SOCKS proxy
-L 8022:web-1:22, -W web-1:22, -J web-1     ('web-1', 22)
-R /x.sock:localhost:5432, -L 5432:/x.sock    the socket '/x.sock'; ssh takes text with a `/` for a path
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from ferry.errors import InvalidInput
from ferry.names import printable, typed_name

from .forward_spec import is_numeric
from .socket_path import SOCKET_PORT
from .targets import shown_host

_FIELD: Final = re.compile(r"\[([^\]]*)\]|([^:]*)")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_VALUELESS: Final = re.compile(r"-[46AaCfgKkMNnqsTtvXxYy]+")
"""Options of ssh without a value, which say nothing about a forward."""
_COUNTS: Final = {"-R": (1, 2, 3, 4), "-L": (3, 4), "-W": (2,)}
"""How many fields a forward to a host or a port has."""
EXAMPLE: Final = "write explain -R 22080:localhost:3000, -L 8022:web-1:22, -W web-1:22 or -J web-1"


class TypedForward(NamedTuple):
    """One forward."""

    listens: bool
    """`-R`: the gateway would listen. Otherwise it would open a connection."""
    host: bytes
    """Of a socket: its path."""
    port: int
    """SOCKET_PORT for a socket."""
    typed: str
    """The option with its value, as far as the gateway reads it."""

    def __str__(self) -> str:
        return self.typed


def shown_request(host: bytes, port: int) -> str:
    """A request for a forward as typed, as far as the gateway sees it: `-R blog:80`, `-R 80`."""
    text = printable(host.decode("utf-8", "backslashreplace"), 80)
    if port == SOCKET_PORT:
        return f"-R {text}"
    if text in ("", "localhost"):
        return f"-R {port}"
    return f"-R [{text}]:{port}" if ":" in text and is_numeric(text) and text[0] != "[" else f"-R {text}:{port}"


def kept_request(host: bytes, port: int) -> str:
    """`shown_request` for the log and for remembered refusals. It omits an invalid host, such as `user:password@name`, and
    the path of a socket."""
    return "-R PATH" if port == SOCKET_PORT else shown_request(shown_host(host).encode(), port)


def shown_target(host: bytes, port: int) -> str:
    """The target of an open as typed: `web-1:22`, `[::1]:22`, `/x.sock`."""
    text = printable(host.decode("utf-8", "backslashreplace"), 80)
    if port == SOCKET_PORT:
        return text
    return f"[{text}]:{port}" if ":" in text and not text.startswith("[") else f"{text}:{port}"


def kept_target(host: bytes, port: int) -> str:
    """`shown_target` for the log. It omits what `kept_request` omits."""
    return "PATH" if port == SOCKET_PORT else shown_target(shown_host(host).encode(), port)


def parse_typed(words: Sequence[str]) -> TypedForward:
    """The forward of an option with its value, in one word or two. Raises InvalidInput."""
    words = [word for word in words if not _VALUELESS.fullmatch(word)]
    option, value = words[0][:2] if words else "", "".join(words)[2:]
    if option == "-D":
        raise InvalidInput(
            f"-D itself names no target: ask about one that it is to lead to, as in explain -W web-1:22; {EXAMPLE}",
            detail="explain with -D",
        )
    if option not in ("-R", "-L", "-W", "-J") or len(words) > 2 or not value:
        detail = f"explain with {typed_name(words[0])}" if words else "explain without a forward"
        raise InvalidInput(f"explain takes one forward, as you would type it: {EXAMPLE}", detail=detail)
    shown = f"{option} {printable(value, 80)}"
    if option == "-J":
        host, _, port = value.rpartition("@")[2].partition(":")
        return TypedForward(False, host.encode(), _port(port or "22", value), shown)
    fields = _fields(value)
    if (path := _socket(option, fields)) is not None:
        return TypedForward(option == "-R", path.encode(), SOCKET_PORT, shown)
    if len(fields) not in _COUNTS[option]:
        raise _unreadable(option, value)
    if option != "-R":
        return TypedForward(False, fields[-2].encode(), _port(fields[-1], value), shown)
    bind, port = fields[:2] if _has_bind(fields) else ("localhost", fields[0])
    return TypedForward(True, b"" if bind == "*" else bind.encode(), _port(port, value, least=0), shown)


def _socket(option: str, fields: Sequence[str]) -> str | None:
    """The path of the gateway's socket that a forward means; None if it means a host or a port (readconf.c,
    parse_forward)."""
    count, first, last = len(fields), _is_path(fields[0]), _is_path(fields[-1])
    if option == "-R":
        listens = first and (count in (1, 3) or (count == 2 and last))
        return fields[0] if listens else None
    if option == "-W":
        return fields[0] if first and count == 1 else None
    to_socket = last and (count == 2 or (count == 3 and not first))
    return fields[-1] if to_socket else None


def _has_bind(fields: Sequence[str]) -> bool:
    """Whether a `-R` to a port begins with a bind address: the port follows it."""
    if _is_path(fields[-1]):  # the local service is a socket, without a port
        return len(fields) == 3
    return len(fields) in (2, 4)


def _is_path(field: str) -> bool:
    return "/" in field


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
