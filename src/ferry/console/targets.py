"""Finds the tunnel, connection or name that a person's text means: `blog`, `blog.example.com`, a URL, `30042`,
`laptop:22`, an id."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from ferry.errors import FerryError
from ferry.kinds import kind_of
from ferry.names import Kind, printable

from .models import ConnectionInfo, NameInfo, TunnelInfo

T = TypeVar("T")
NEAREST: Final = 3  # suggestions in an answer
_SCHEME: Final = re.compile(r"[a-z]+://")


class NotFound(FerryError):
    """Nothing has that name. `fix` has the nearest ones."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class Ambiguous(NotFound):
    """Several have that name. `fix` lists them."""


def find_tunnel(target: str, tunnels: Sequence[TunnelInfo]) -> TunnelInfo:
    """The one tunnel that `target` means. Raises NotFound or Ambiguous."""
    return _find(target, tunnels, _tunnel_words, what="tunnel", none="no tunnel is open: `ferry ls` lists them")


def find_connection(target: str, connections: Sequence[ConnectionInfo]) -> ConnectionInfo:
    """The connection with this id. Raises NotFound."""
    none = "nobody is connected: `ferry ls --connections` lists them"
    return _find(target, connections, lambda connection: [connection.id], what="connection", none=none)


def find_name(target: str, names: Sequence[NameInfo]) -> NameInfo:
    """The one reservation that `target` means. Raises NotFound or Ambiguous."""
    return _find(target, names, _name_words, what="name", none="no name is reserved")


def _find(target: str, things: Sequence[T], words: Callable[[T], list[str]], *, what: str, none: str) -> T:
    wanted = _plain(target)
    for rank in range(max((len(words(thing)) for thing in things), default=0)):
        # The first word of each is exact (its id), then the full address, then shorter forms.
        found = [thing for thing in things if wanted in words(thing)[rank : rank + 1]]
        if len(found) == 1:
            return found[0]
        if found:
            full = ", ".join(f"{words(thing)[1]} ({words(thing)[0]})" for thing in found)
            raise Ambiguous(f"{printable(target)!r} means {len(found)} {what}s", f"write which: {full}")
    if not things:
        fix = none
    elif near := _nearest(wanted, (word for thing in things for word in words(thing))):
        fix = f"did you mean {' or '.join(near)}?"
    else:
        fix = f"there are: {_first_few(things, words)}"
    raise NotFound(f"no {what} is called {printable(target)!r}", fix)


def _tunnel_words(tunnel: TunnelInfo) -> list[str]:
    return [tunnel.id, *_address_words(tunnel.kind, tunnel.address)]


def _name_words(name: NameInfo) -> list[str]:
    return [name.key, *_address_words(name.kind, name.address)]


def _address_words(kind: str, address: str) -> list[str]:
    """Names of an address, from exact to short: `blog.example.com`, `blog`; `port 30042`, `30042`; `laptop:22`, `laptop`."""
    return [address, kind_of(Kind(kind)).short(address)]


def _plain(target: str) -> str:
    text = target.strip().lower()
    if scheme := _SCHEME.match(text):
        authority = text[scheme.end() :].partition("/")[0]
        host, colon, port = authority.rpartition(":")
        if scheme[0] == "tcp://":
            return port
        return host if colon else authority
    return text.removeprefix(":")


def _nearest(wanted: str, words: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(wanted, sorted(set(words)), n=NEAREST, cutoff=0.6)


def _first_few(things: Sequence[T], words: Callable[[T], list[str]]) -> str:
    shown = [words(thing)[-1] for thing in things[:NEAREST]]
    return ", ".join(shown) + (", …" if len(things) > NEAREST else "")
