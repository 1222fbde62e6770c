"""The settings that count for somebody who logs in: for everybody, below one Match line, or for one account.

A value below Match is above one at the top; otherwise the first counts (sshd_config(5)). Which criteria hold is known of
User alone; a block with others is looked at as if they held.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ferry.protocol.key_options import System
from ferry.protocol.sshd_config import Block, Parsed, Place, Statement, in_patterns
from ferry.protocol.sshd_keywords import ADDED_UP, DEFAULTS

from .key_lines import KeyLine, key_lines

_LITERAL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
LISTENING: Final = frozenset({"yes", "all", "remote"})
DIALLING: Final = frozenset({"yes", "all", "local"})


@dataclass(frozen=True, slots=True)
class Setting:
    """The values of a keyword, and where they are written; without a line, they are sshd's defaults."""

    values: tuple[str, ...]
    place: Place
    written: bool = True
    """Whether somebody chose them. The output of `sshd -T` has defaults too, which nobody chose."""

    @property
    def word(self) -> str:
        """The first value, in lower case."""
        return self.values[0].lower() if self.values else ""

    def __str__(self) -> str:
        return " ".join(self.values)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file of public keys. `user` is its account, if it is the file of one account alone."""

    name: str
    text: str = field(repr=False)
    user: str | None = None

    @property
    def count(self) -> int:
        """Its lines that are neither empty nor a comment."""
        lines = (line.strip() for line in self.text.split("\n"))
        return sum(bool(line) and not line.startswith("#") for line in lines)


@dataclass(frozen=True, slots=True)
class Key:
    """A line of a key file, and its account."""

    line: KeyLine
    user: str | None
    certain: bool
    """Whether the settings of the view surely count for the account of the key."""


@dataclass(frozen=True, slots=True)
class View:
    """What counts below `blocks`; for everybody, if there are none."""

    settings: Mapping[str, Setting]
    blocks: tuple[Block, ...] = ()
    keys: tuple[Key, ...] = ()

    def __getitem__(self, keyword: str) -> Setting:
        return self.settings[keyword]

    @property
    def certain_keys(self) -> list[Key]:
        """The keys that surely count here, and not only perhaps."""
        return [key for key in self.keys if key.certain]

    @property
    def title(self) -> str:
        """`Match User tunnel`; empty for everybody."""
        return ", ".join(block.written for block in self.blocks)

    def named(self, criterion: str) -> list[str]:
        """The accounts (`user`) or groups (`group`) that the blocks name without wildcards."""
        patterns = [name for block in self.blocks for value in block.values(criterion) for name in value.split(",")]
        return [pattern for pattern in patterns if _LITERAL.fullmatch(pattern)]

    @property
    def forwards(self) -> bool:
        return self["disableforwarding"].word != "yes"

    @property
    def listens(self) -> bool:
        """Whether sshd lets a client listen on a TCP port (-R)."""
        allowed = self["allowtcpforwarding"].word in LISTENING
        return self.forwards and allowed and self["permitlisten"].word != "none"

    @property
    def dials(self) -> bool:
        """Whether sshd lets a client reach the hosts and ports of PermitOpen (-L, -D, -W)."""
        return self.forwards and self["allowtcpforwarding"].word in DIALLING

    @property
    def listening_is_bound(self) -> bool:
        """Whether PermitListen names ports."""
        return self["permitlisten"].word not in ("any", "none")

    def sockets(self, directions: frozenset[str]) -> bool:
        """Whether Unix sockets are forwarded in one of these directions."""
        return self.forwards and self["allowstreamlocalforwarding"].word in directions

    @property
    def socket_listens(self) -> bool:
        return self.sockets(LISTENING)

    @property
    def socket_dials(self) -> bool:
        return self.sockets(DIALLING)


def views(parsed: Parsed, user: str | None) -> list[View]:
    """For everybody first, then for each Match block. With `user`, for that account: without the blocks of others, and
    then below each block that has further criteria."""
    if user is None:
        chains = list(dict.fromkeys(each.blocks for each in parsed.statements if _conditions(each.blocks)))
        return [_view(parsed, chain, lambda block: block.is_for_all) for chain in [(), *chains]]

    def holds(block: Block) -> bool:
        return block.is_for_all or (_is_of(block, user) and {name for name, _ in block.criteria} == {"user"})

    chains = [()]
    for statement in parsed.statements:
        open_blocks = tuple(block for block in statement.blocks if not holds(block))
        if all(_is_of(block, user) for block in open_blocks):
            chains.append(open_blocks)
    return [_view(parsed, chain, holds) for chain in dict.fromkeys(chains)]


def _conditions(blocks: Iterable[Block]) -> bool:
    return any(not block.is_for_all for block in blocks)


def _is_of(block: Block, user: str) -> bool:
    """Whether the User criteria of a block mean this account; true where it has none."""
    return all(in_patterns(user, patterns) for patterns in block.values("user"))


def _view(parsed: Parsed, chain: tuple[Block, ...], holds: Callable[[Block], bool]) -> View:
    below = [each for each in parsed.statements if each.blocks and all(b in chain or holds(b) for b in each.blocks)]
    top = [each for each in parsed.statements if not each.blocks]
    plain = parsed.is_effective
    found = _added_up(top, plain=plain) | _added_up(below, plain=plain)
    for keyword, values in DEFAULTS.items():
        found.setdefault(keyword, Setting(values, Place(parsed.name), written=False))
    return View(found, tuple(block for block in chain if not block.is_for_all))


def _added_up(statements: Iterable[Statement], *, plain: bool) -> dict[str, Setting]:
    """The settings of statements that count alike. `plain`: they are the output of `sshd -T`, with a line for each value."""
    found: dict[str, Setting] = {}
    for statement in statements:
        keyword = statement.keyword
        earlier = found.get(keyword)
        if earlier is None:
            chosen = not plain or statement.values != DEFAULTS.get(keyword)
            found[keyword] = Setting(statement.values, statement.place, chosen)
        elif keyword in ADDED_UP or plain:
            found[keyword] = replace(earlier, values=(*earlier.values, *statement.values))
    return found


def with_keys(made: Sequence[View], files: Iterable[KeyFile], system: System) -> list[View]:
    """The views with their keys: a file of one account stands below the blocks that mean it, else below everybody's."""
    keys: list[list[Key]] = [[] for _ in made]
    for file in files:
        lines = key_lines(file.name, file.text, system)
        for number, certain in _views_of(made, file.user):
            keys[number] += (Key(line, file.user, certain) for line in lines)
    return [replace(view, keys=tuple(found)) for view, found in zip(made, keys, strict=True)]


def _views_of(made: Sequence[View], user: str | None) -> list[tuple[int, bool]]:
    """The numbers of the views in which the keys of an account may count, and whether they surely do. The groups of an account
    are not known."""
    if user is None:
        return [(number, len(made) == 1) for number in range(len(made))]
    surely: list[tuple[int, bool]] = []
    perhaps: list[tuple[int, bool]] = []
    for number, view in enumerate(made):
        if view.blocks and all(_is_of(block, user) for block in view.blocks):
            criteria = {name for block in view.blocks for name, _ in block.criteria}
            (surely if criteria == {"user"} else perhaps).append((number, "group" not in criteria))
    return (surely or [(0, all(certain for _, certain in perhaps))]) + perhaps
